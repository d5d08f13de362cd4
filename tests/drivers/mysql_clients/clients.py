"""How the tests of mysqlclient and mysql-connector-python use both alike."""

from __future__ import annotations

from typing import Any

import pytest

from examples.servers import MariaDB
from tests.drivers.rows import ROWS, Row

#: What only a hang reaches, in seconds; what is waited for would take longer still.
HANG_S = 20

_CLIENTS = [ROWS[name] for name in ("mysqldb", "mysqlconnector") if name in ROWS]

#: Runs a test for each of them.
each_client = pytest.mark.parametrize("row", _CLIENTS, ids=lambda row: row.name)


def execute(db: Any, sql: str) -> Any:
    """Run one statement, and give its cursor."""
    cursor = db.cursor()
    cursor.execute(sql)
    return cursor


def rows(db: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement, and give its rows."""
    return list(execute(db, sql).fetchall())


def url_of(row: Row, server: MariaDB, transport: str) -> str:
    """Give the URL of the database ``cars``, for the client of *row*, over ``tls`` or ``plain``."""
    url = server.tls_url("cars").partition("&")[0] if transport == "tls" else server.url("cars")
    return url.replace("mysql://", f"mysql+{row.name}://")
