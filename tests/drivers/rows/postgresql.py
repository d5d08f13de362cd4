"""What the rows of PostgreSQL's libraries have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.drivers.rows.row import Row


class PostgreSQLRow(Row):
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
