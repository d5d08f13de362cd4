"""A file for SQLite, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskconn.drivers.sqlite import Connection
from tests.drivers.sqlite.client import driver, target_at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file that is not there."""
    return tmp_path / "cars.db"


@pytest.fixture
def db(path: Path) -> Iterator[Connection]:
    """Give a connection to a file with the table `car`."""
    connection = driver.open(target_at(path), 5)
    connection.execute("CREATE TABLE car (name TEXT)")
    driver.session(connection).sent = 0
    yield connection
    driver.close(connection, 1)
