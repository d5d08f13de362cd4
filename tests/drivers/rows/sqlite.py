"""The row of SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from taskconn.drivers.sqlite import SQLite
from tests.drivers.rows.row import Row


class SQLiteRow(Row):
    name = "sqlite"
    driver = SQLite
    family = scheme = "sqlite"
    asks_while_reading = True
    misspelt, meant = "time_out", "timeout"
    has_server = False
    plain: ClassVar[Mapping[str, str]] = {"journal_mode": "DELETE", "timeout": "1"}

    def url(self, request: Any) -> str:
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/cars.db?journal_mode=DELETE&timeout=1"

    def prepare(self, connection: Any) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS car (name TEXT)")

    def write(self, connection: Any, value: str) -> None:
        connection.execute("INSERT INTO car VALUES (?)", (value,))

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.executemany("INSERT INTO car VALUES (?)", [(value,) for value in values])

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in connection.execute("SELECT name FROM car ORDER BY name")]

    def half_read(self, connection: Any) -> Any:
        cursor = connection.execute("SELECT 1 UNION ALL SELECT 2")
        assert cursor.fetchone() == (1,)
        return cursor

    def session_id(self, connection: Any) -> str:
        return "none"

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        return connection.execute("SELECT ?", (number,)).fetchall(), [(number,)]
