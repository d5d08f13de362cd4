"""The row of psycopg 3."""

from __future__ import annotations

from typing import Any

from taskconn.drivers.psycopg import Psycopg
from tests.drivers.rows.postgresql import PostgreSQLRow


class PsycopgRow(PostgreSQLRow):
    name = "psycopg"
    driver = Psycopg
    scheme = "postgresql+psycopg"

    def url(self, request: Any) -> str:
        url: str = request.getfixturevalue("postgresql_database").url
        return url

    def half_read(self, connection: Any) -> Any:
        rows = connection.cursor().stream(f"SELECT generate_series(1, {self.unread})")
        assert next(rows) == (1,)
        return rows

    def rest(self, reader: Any) -> list[Any]:
        return [value for (value,) in reader]
