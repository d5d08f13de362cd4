"""A database of cars, and aliases of SQLAlchemy to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskconn import Registry
from tests.drivers.sqlalchemy.cars import url_of
from tests.support.databases import MySQLDatabase


@pytest.fixture
def cars(mysql_database: MySQLDatabase) -> MySQLDatabase:
    """Give a database with the table of `Car`."""
    mysql_database.query(
        "CREATE TABLE car (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) UNIQUE NOT NULL) ENGINE=InnoDB"
    )
    return mysql_database


@pytest.fixture
def aliases(cars: MySQLDatabase) -> Iterator[Callable[..., Any]]:
    """Give a function that makes a handle of the database, with options."""
    registry = Registry()
    number = iter(range(100))

    def make(*, port: int | None = None, driver: str = "pymysql", **options: Any) -> Any:
        return registry.add(f"cars{next(number)}", url_of(cars, port, driver), **options)

    yield make
    registry.close()
