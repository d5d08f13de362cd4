"""The row of psycopg2."""

from __future__ import annotations

from typing import Any

from taskconn.drivers.psycopg2 import Psycopg2
from tests.drivers.rows.postgresql import PostgreSQLRow


class Psycopg2Row(PostgreSQLRow):
    name = "psycopg2"
    driver = Psycopg2
    scheme = "postgresql+psycopg2"
    asks_while_reading = True

    def url(self, request: Any) -> str:
        url: str = request.getfixturevalue("postgresql_database").url
        return url.replace("postgresql://", "postgresql+psycopg2://")

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor("half")
        cursor.execute(f"SELECT generate_series(1, {self.unread})")
        assert cursor.fetchone() == (1,)
        return cursor
