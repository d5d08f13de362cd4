"""The rows of the sweep: those of `ROWS`, and SQLAlchemy over each of its libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from tests.drivers.rows import ROWS, Row
from tests.drivers.rows.sqlalchemy import SQLAlchemyRow


class _PostgreSQL(SQLAlchemyRow):
    def prepare(self, connection: Any) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS car (name TEXT)"))

    def half_read(self, connection: Any) -> Any:
        options = {"stream_results": True, "max_row_buffer": 1}
        rows = connection.execute(text(f"SELECT generate_series(1, {self.unread})"), execution_options=options)
        assert rows.fetchone() == (1,)
        return rows

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            question = text("SELECT CAST(:number AS int), repeat('x', CAST(:size AS int))")
            rows = connection.execute(question, {"number": number, "size": number % 3000})
            return rows.fetchall(), [(number, "x" * (number % 3000))]
        if way == 1:
            options = {"stream_results": True, "max_row_buffer": 1}
            question = text(f"SELECT g + {number} FROM generate_series(1, 5) g")
            rows = connection.execute(question, execution_options=options)
            return [value for (value,) in rows], [number + step for step in range(1, 6)]
        connection.execute(text(f"SET taskconn.number = {number}"))
        connection.commit()
        return connection.execute(text("SHOW taskconn.number")).fetchall(), [(str(number),)]


#: Name to row.
SWEPT: Mapping[str, Row] = {
    **ROWS,
    "sqlalchemy+mysqldb": SQLAlchemyRow(),
    "sqlalchemy+mysqlconnector": SQLAlchemyRow(),
    "sqlalchemy+psycopg": _PostgreSQL(),
    "sqlalchemy+psycopg2": _PostgreSQL(),
}


def url_of(name: str, request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty place that chooses the row's client library."""
    row = SWEPT[name]
    url = row.url(request)
    if row.family == "mysql" and not name.startswith("sqlalchemy"):
        return url.replace("mysql://", f"{row.scheme}://")
    if name.startswith("sqlalchemy+psycopg"):
        plain: str = request.getfixturevalue("postgresql_database").url
        return plain.replace("postgresql://", f"sqlalchemy+postgresql+{name.partition('+')[2]}://")
    return url.replace("+pymysql://", f"+{name.partition('+')[2] or 'pymysql'}://")
