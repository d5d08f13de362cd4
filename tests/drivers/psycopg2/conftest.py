"""A connection of psycopg2."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskconn.drivers.psycopg2 import Connection
from tests.drivers.psycopg2.client import driver, url_of
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase


@pytest.fixture
def db(postgresql_database: PostgreSQLDatabase) -> Iterator[Connection]:
    """Give a connection to a database with the table `car`."""
    postgresql_database.query("CREATE TABLE car (id INT, name TEXT)")
    connection = driver.open(target_of(url_of(postgresql_database)), 5)
    yield connection
    driver.close(connection, 1)
