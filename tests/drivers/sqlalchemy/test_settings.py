"""SQLAlchemy: arguments of the engine and of the library below it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from taskconn import Registry, lease
from taskconn.drivers.sqlalchemy import Connection, SQLAlchemy
from taskconn.errors import InvalidSettingsError, UnknownOptionError
from tests.drivers.rows import target_of
from tests.drivers.sqlalchemy.cars import url_of
from tests.support.databases import MySQLDatabase


@pytest.mark.parametrize(
    ("url", "options", "remedy"),
    [
        ("sqlalchemy://app@db/shop", {}, r"Write sqlalchemy\+mysql\+pymysql://"),
        ("sqlalchemy+nosuch://app@db/shop", {}, r"can't make an engine .*\n.*install the package"),
        ("sqlalchemy+sqlite:///x.db", {"engine_args": {"pool_size": 5}}, "Write the option 'max_size' instead"),
        (
            "sqlalchemy+sqlite:///x.db",
            {"engine_args": {"ecko": True}},
            r"can't make an engine of it \(Invalid argument",
        ),
        ("sqlalchemy+sqlite+aiosqlite:///x.db", {}, r"is a driver for asyncio|install the package"),
        ("sqlalchemy+sqlite:///x.db", {"engine_args": {"isolation_level": "AUTOCOMMIT"}}, 'transaction="none"'),
    ],
    ids=["no dialect", "unknown dialect", "pool", "unknown argument", "asyncio", "autocommit"],
)
def test_wrong_settings_stop_a_worker(url: str, options: dict[str, Any], remedy: str) -> None:
    """What SQLAlchemy or taskconn can't make sense of is refused before anything is opened."""
    registry = Registry()
    registry.add("orders", url, **options)

    with pytest.raises(InvalidSettingsError, match=remedy):
        registry.check()


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("mysql+pymysql://app@db/shop?charsett=utf8mb4", "charset"),
        ("mysql+mysqlconnector://app@db/shop?charsett=utf8mb4", "charset"),
        ("postgresql+psycopg://app@db/shop?sslmod=require", "sslmode"),
        ("postgresql+psycopg2://app@db/shop?sslmod=require", "sslmode"),
        ("sqlite:///x.db?time_out=1", "timeout"),
    ],
    ids=["pymysql", "mysqlconnector", "psycopg", "psycopg2", "sqlite"],
)
def test_argument_of_the_library_is_checked(url: str, meant: str) -> None:
    """A slip of the pen does not wait for the first connection; what is right passes."""
    registry = Registry()
    registry.add("orders", f"sqlalchemy+{url}")

    with pytest.raises(UnknownOptionError, match=f"Did you mean '{meant}'"):
        registry.check()

    registry.add("orders", f"sqlalchemy+{url.partition('?')[0]}?{meant}={url.rpartition('=')[2]}")
    registry.check()


def test_engine_arguments_reach_the_engine(tmp_path: Path) -> None:
    """`engine_args` are `create_engine`'s; with AUTOCOMMIT the task settles nothing, and says so."""
    registry = Registry()
    options = {"engine_args": {"isolation_level": "AUTOCOMMIT"}, "transaction": "none"}
    handle = registry.add("orders", f"sqlalchemy+sqlite:///{tmp_path}/x.db", **options)
    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.execute(text("CREATE TABLE car (name TEXT)"))
        db.execute(text("INSERT INTO car VALUES ('Volvo')"))
        raise ZeroDivisionError

    with lease(handle) as db:
        assert db.execute(text("SELECT name FROM car")).scalars().all() == ["Volvo"]
    registry.close()


@pytest.mark.parametrize(
    ("library", "module"), [("pymysql", "pymysql"), ("mysqlconnector", "mysql"), ("mysqldb", "MySQLdb")]
)
def test_session_is_known_by_its_id(cars: MySQLDatabase, library: str, module: str) -> None:
    """Whatever library connects: what it was told at login is what the server answers."""
    pytest.importorskip(module, reason=f"{module} is not installed")
    driver = SQLAlchemy()

    connection = driver.open(target_of(url_of(cars, driver=library)), 5)

    assert driver.identity(connection) == driver.ask_identity(connection, 5) is not None
    driver.close(connection, 1)


def test_password_is_asked_at_each_open(cars: MySQLDatabase) -> None:
    """The engine is kept, the password is not."""
    driver, target = SQLAlchemy(), target_of(url_of(cars))
    first = driver.open(target, 5)
    with pytest.raises(driver.errors, match="Access denied"):
        driver.open(target_of(url_of(cars), password="changed"), 5)
    second = driver.open(target, 5)

    for connection in (first, second):
        assert isinstance(connection, Connection)
        driver.close(connection, 1)
