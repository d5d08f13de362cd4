"""The driver of each client, its connections, and a server with TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.servers import MariaDB
from taskconn.driver import Driver
from tests.drivers.rows import Row, target_of
from tests.support.databases import MySQLDatabase
from tests.support.wire import Wire


@pytest.fixture(scope="session")
def tls_server() -> Iterator[MariaDB]:
    """Give a server with TLS and with a view of its clients' labels; tests may pause it, if they resume it."""
    with MariaDB(tls=True, performance_schema=True) as server:
        server.query("CREATE DATABASE cars")
        server.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB", database="cars")
        yield server


@pytest.fixture
def driver(row: Row) -> Driver[Any]:
    """Give a driver of one's own."""
    return row.driver()


@pytest.fixture
def db(driver: Driver[Any], mysql_database: MySQLDatabase) -> Iterator[Any]:
    """Give a connection to a database with the table `car`."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    connection = driver.open(target_of(mysql_database.url), 5)
    yield connection
    driver.close(connection, 1)


@pytest.fixture
def watched(
    driver: Driver[Any], mysql_database: MySQLDatabase, wire: Callable[..., Wire]
) -> Iterator[tuple[Any, Wire]]:
    """Give a connection through a proxy that counts and can hold answers back."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    cut = wire(mysql_database.server)
    connection = driver.open(target_of(mysql_database.url, port=cut.port), 5)
    yield connection, cut
    driver.invalidate(connection)
