"""Connections of PyMySQL, straight and through a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from taskconn.drivers.pymysql import Connection
from tests.drivers.pymysql.client import driver
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase
from tests.support.wire import Wire


@pytest.fixture
def db(mysql_database: MySQLDatabase) -> Iterator[Connection]:
    """Give a connection to a database with the table `car`."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    connection = driver.open(target_of(mysql_database.url), 5)
    yield connection
    driver.close(connection, 1)


@pytest.fixture
def watched(mysql_database: MySQLDatabase, wire: Callable[..., Wire]) -> Iterator[tuple[Connection, Wire]]:
    """Give a connection through a proxy that can hold answers back."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    cut = wire(mysql_database.server)
    connection = driver.open(target_of(mysql_database.url, port=cut.port), 5)
    yield connection, cut
    driver.invalidate(connection)
