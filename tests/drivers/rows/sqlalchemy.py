"""The row of SQLAlchemy, over PyMySQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import text

from taskconn.drivers.sqlalchemy import SQLAlchemy
from tests.drivers.rows.pymysql import PyMySQLRow
from tests.drivers.rows.row import Row


class SQLAlchemyRow(Row):
    name = "sqlalchemy"
    driver = SQLAlchemy
    misspelt, meant = "charsett", "charset"
    family, scheme = "mysql", "sqlalchemy+mysql+pymysql"
    stays: ClassVar[Mapping[str, str]] = {
        "SET autocommit": "SQLAlchemy does not see what a statement switches; with `isolation_level` it is put back"
    }
    plain: ClassVar[Mapping[str, str]] = PyMySQLRow.plain
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}"}

    def url(self, request: Any) -> str:
        url: str = request.getfixturevalue("mysql_database").url
        return url.replace("mysql://", "sqlalchemy+mysql+pymysql://")

    def prepare(self, connection: Any) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS car (name VARCHAR(50)) ENGINE=InnoDB"))

    def write(self, connection: Any, value: str) -> None:
        connection.execute(text("INSERT INTO car VALUES (:name)"), {"name": value})

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.execute(text("INSERT INTO car VALUES (:name)"), [{"name": value} for value in values])

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in connection.execute(text("SELECT name FROM car ORDER BY name"))]

    def run(self, connection: Any, statement: str) -> list[Any]:
        found = connection.execute(text(statement))
        return [tuple(row) for row in found] if found.returns_rows else []

    def rest(self, reader: Any) -> list[Any] | None:
        return [value for (value,) in reader.fetchall()]

    def half_read(self, connection: Any) -> Any:
        rows = connection.execute(
            text(f"SELECT seq FROM seq_1_to_{self.unread}"),
            execution_options={"stream_results": True, "max_row_buffer": 1},
        )
        assert rows.fetchone() == (1,)
        return rows

    def session_id(self, connection: Any) -> str:
        return str(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            rows = connection.execute(
                text("SELECT :number, REPEAT('x', :size)"), {"number": number, "size": number % 3000}
            )
            return rows.fetchall(), [(number, "x" * (number % 3000))]
        if way == 1:
            options = {"stream_results": True, "max_row_buffer": 1}
            rows = connection.execute(text(f"SELECT seq + {number} FROM seq_1_to_5"), execution_options=options)
            return [value for (value,) in rows], [number + step for step in range(1, 6)]
        connection.execute(text("SET @number = :number"), {"number": number})
        connection.rollback()
        return connection.execute(text("SELECT @number")).fetchall(), [(number,)]
