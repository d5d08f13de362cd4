"""A connection of psycopg 3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskconn.drivers.psycopg import Connection
from tests.drivers.psycopg.client import driver
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase


@pytest.fixture
def db(postgresql_database: PostgreSQLDatabase) -> Iterator[Connection]:
    """Give a connection to a database with the table `car`."""
    postgresql_database.query("CREATE TABLE car (name TEXT)")
    connection = driver.open(target_of(postgresql_database.url), 5)
    yield connection
    driver.close(connection, 1)
