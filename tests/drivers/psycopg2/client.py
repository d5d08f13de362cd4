"""The driver that the tests of psycopg2 share, and its URLs."""

from __future__ import annotations

from taskconn.drivers.psycopg2 import Psycopg2
from tests.support.databases import PostgreSQLDatabase

driver = Psycopg2()


def url_of(database: PostgreSQLDatabase) -> str:
    """Name *database* for psycopg2."""
    return database.url.replace("postgresql:", "postgresql+psycopg2:", 1)
