"""The rows of psycopg 3 and of psycopg2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from taskconn.drivers.psycopg import Psycopg
from taskconn.drivers.psycopg2 import Psycopg2
from tests.drivers.rows.row import Row


class _PostgreSQLRow(Row):
    misspelt, meant = "sslmod", "sslmode"
    family = "postgresql"
    plain: ClassVar[Mapping[str, str]] = {"sslmode": "disable"}
    tls: ClassVar[Mapping[str, str]] = {"sslmode": "verify-full", "sslrootcert": "{authority}"}

    def prepare(self, connection: Any) -> None:
        self.write_sql(connection, "CREATE TABLE IF NOT EXISTS car (name TEXT)")
        connection.commit()

    def write_sql(self, connection: Any, sql: str, *arguments: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute(sql, arguments or None)
        return cursor

    def write(self, connection: Any, value: str) -> None:
        self.write_sql(connection, "INSERT INTO car VALUES (%s)", value)

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.cursor().executemany("INSERT INTO car VALUES (%s)", [(value,) for value in values])

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in self.write_sql(connection, "SELECT name FROM car ORDER BY name").fetchall()]

    def session_id(self, connection: Any) -> str:
        return str(self.write_sql(connection, "SELECT pg_backend_pid()").fetchone()[0])

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            rows = self.write_sql(connection, "SELECT %s::int, repeat('x', %s::int)", number, number % 3000).fetchall()
            return rows, [(number, "x" * (number % 3000))]
        if way == 1:
            with connection.cursor(f"c{number}") as cursor:
                cursor.execute("SELECT g + %s FROM generate_series(1, 5) g", (number,))
                return [value for (value,) in cursor.fetchmany(5)], [number + step for step in range(1, 6)]
        self.write_sql(connection, f"SET taskconn.number = {number}")
        connection.commit()
        return self.write_sql(connection, "SHOW taskconn.number").fetchall(), [(str(number),)]


class PsycopgRow(_PostgreSQLRow):
    name = "psycopg"
    driver = Psycopg
    scheme = "postgresql+psycopg"

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("postgresql_database").url
        return url

    def half_read(self, connection: Any) -> Any:
        rows = connection.cursor().stream(f"SELECT generate_series(1, {self.unread})")
        assert next(rows) == (1,)
        return rows

    def rest(self, reader: Any) -> list[Any]:
        return [value for (value,) in reader]


class Psycopg2Row(_PostgreSQLRow):
    name = "psycopg2"
    driver = Psycopg2
    scheme = "postgresql+psycopg2"
    asks_while_reading = True

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("postgresql_database").url
        return url.replace("postgresql://", "postgresql+psycopg2://")

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor("half")
        cursor.execute(f"SELECT generate_series(1, {self.unread})")
        assert cursor.fetchone() == (1,)
        return cursor
