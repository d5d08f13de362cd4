"""Each PostgreSQL driver, its connections, and a server with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from examples.servers import PostgreSQL
from taskconn.driver import Driver
from taskconn.drivers.psycopg import Psycopg
from taskconn.drivers.psycopg2 import Psycopg2
from tests.conftest import _start
from tests.drivers.postgresql.clients import SCHEMES, Make, url_for
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase


@pytest.fixture(params=list(SCHEMES))
def name(request: pytest.FixtureRequest) -> str:
    """Give the name of each driver."""
    return str(request.param)


@pytest.fixture
def driver(name: str) -> Driver[Any]:
    """Give each driver."""
    return Psycopg() if name == "psycopg" else Psycopg2()


@pytest.fixture
def url(name: str, postgresql_database: PostgreSQLDatabase) -> str:
    """Give the URL of a database of the test's own, for the driver."""
    postgresql_database.query("CREATE TABLE car (id INT UNIQUE DEFERRABLE INITIALLY DEFERRED, name TEXT)")
    return url_for(name, postgresql_database.url)


@pytest.fixture
def open_(driver: Driver[Any], url: str) -> Iterator[Make]:
    """Give a function that opens a connection, with changes to its target; all are closed."""
    opened = []

    def make(**changes: Any) -> Any:
        opened.append(driver.open(target_of(changes.pop("url", url), **changes), 5))
        return opened[-1]

    yield make
    for connection in opened:
        driver.close(connection, 1)


@pytest.fixture(scope="session")
def tls_server() -> Iterator[PostgreSQL]:
    """Give a server with TLS that tests may pause, if they resume it."""
    with _start(PostgreSQL(tls=True)) as server:
        yield server
