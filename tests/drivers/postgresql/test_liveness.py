"""Both PostgreSQL drivers: a session that was ended is seen at a glance, and replaced."""

from __future__ import annotations

import time
from typing import Any

import pytest

import taskconn
from examples.servers import PostgreSQL
from taskconn.driver import Driver, Peek
from tests.drivers.postgresql.clients import Make, run, url_for, value
from tests.support.databases import PostgreSQLDatabase


@pytest.mark.parametrize("way", ["url", "unix_url", "tls_url"])
def test_killed_session_shows_at_a_glance(
    name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL, way: str
) -> None:
    """The end of a session is seen without a round trip."""
    db = open_(url=url_for(name, getattr(tls_server, way)()))
    assert driver.peek(db) is Peek.QUIET

    tls_server.kill_session(int(driver.identity(db) or 0))

    assert driver.peek(db) is Peek.DEAD
    assert not driver.is_alive(db, 1)


def test_lease_replaces_a_killed_session(name: str, url: str, postgresql_database: PostgreSQLDatabase) -> None:
    """The next lease gets a new session, and no error."""
    cars = taskconn.Registry().add("cars", url, health_check_interval=0)
    with taskconn.lease(cars) as db:
        first = value(db, "SELECT pg_backend_pid()")
    postgresql_database.server.kill_session(first)

    with taskconn.lease(cars) as db:
        assert value(db, "SELECT pg_backend_pid()") != first
    cars.registry.close()


def test_notification_makes_an_idle_connection_readable(
    driver: Driver[Any], open_: Make, postgresql_database: PostgreSQLDatabase
) -> None:
    """A task's LISTEN outlives it unless `reset` is on; the connection is dropped when something is heard."""
    db = open_()
    run(db, "LISTEN news")
    driver.commit(db, 5)
    postgresql_database.query("NOTIFY news")

    deadline = time.monotonic() + 5
    while driver.peek(db) is Peek.QUIET and time.monotonic() < deadline:
        time.sleep(0.01)

    assert driver.peek(db) is Peek.READABLE
