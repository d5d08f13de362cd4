"""Both PostgreSQL drivers: what of a session is put back between two tasks, and what a lease costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import taskconn
from examples.servers import PgBouncer
from taskconn.driver import Driver
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options
from tests.drivers.postgresql.clients import Make, run, url_for, value
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase
from tests.support.wire import Wire


def test_reset_clears_the_session(driver: Driver[Any], open_: Make, postgresql_database: PostgreSQLDatabase) -> None:
    """Settings, tables, locks, prepared statements and LISTEN of one task are gone; the URL's settings are there."""
    db = open_(query={"options": "-c search_path=pg_catalog,public"})
    for sql in (
        "SET search_path = nowhere",
        "CREATE TEMPORARY TABLE mine (id INT)",
        "SELECT pg_advisory_lock(4711)",
        "PREPARE mine AS SELECT 1",
        "LISTEN news",
    ):
        run(db, sql)
    driver.commit(db, 5)
    before = driver.session(db).sent

    driver.reset(db, 5)

    assert driver.session(db).sent == before
    assert driver.is_settled(db)
    assert value(db, "SHOW search_path") == "pg_catalog,public"
    assert value(db, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0
    assert value(db, "SELECT count(*) FROM pg_prepared_statements") == 0
    assert value(db, "SELECT count(*) FROM pg_listening_channels()") == 0
    assert postgresql_database.query("SELECT pg_try_advisory_lock(4711)") == [(True,)]
    driver.rollback(db, 5)


def test_autocommit_of_a_task_is_not_the_next_ones(name: str, url: str) -> None:
    """Autocommit and isolation level are the client's, and are put back although nothing was sent."""
    cars = taskconn.Registry().add("cars", url)
    with taskconn.lease(cars) as db:
        db.autocommit = True

    with taskconn.lease(cars) as db:
        assert not db.autocommit
        db.isolation_level = 4 if name == "psycopg" else "SERIALIZABLE"
        run(db, "INSERT INTO car VALUES (1, 'Volvo')")
        db.commit()

    with taskconn.lease(cars) as db:
        assert value(db, "SHOW transaction_isolation") == "read committed"
    cars.registry.close()


@pytest.mark.parametrize("how", [{"query": {"autocommit": "1"}}, {"connect_args": {"autocommit": True}}])
def test_autocommit_needs_transaction_none(driver: Driver[Any], open_: Make, url: str, how: dict[str, Any]) -> None:
    """Where the lease is to roll back, autocommit is refused; with transaction="none" it is the task's own."""
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target_of(url, **how))

    db = open_(**how, options=Options(transaction="none"))
    assert db.autocommit
    driver.reset(db, 5)
    driver.restore(db)
    assert db.autocommit


@pytest.mark.parametrize(
    ("task", "round_trips"),
    [(str, 0), (lambda db: run(db, "SELECT 1"), 3)],
    ids=["no statement", "one"],
)
def test_lease_costs_no_round_trip_of_its_own(
    url: str, postgresql_database: PostgreSQLDatabase, wire: Callable[..., Wire], task: Any, round_trips: int
) -> None:
    """A task that sends nothing costs nothing; else BEGIN, the statement and COMMIT are all that passes."""
    proxy = wire(postgresql_database.server)
    cars = taskconn.Registry().add("cars", url.replace(f":{postgresql_database.server.port}/", f":{proxy.port}/"))
    with taskconn.lease(cars):
        pass
    before = proxy.requests

    with taskconn.lease(cars) as db:
        task(db)

    assert proxy.requests - before == round_trips
    cars.registry.close()


def test_pooler_in_transaction_mode_changes_sessions(open_: Make, name: str, pgbouncer: PgBouncer) -> None:
    """Behind PgBouncer two transactions of one connection may be two sessions: what a session keeps is not kept."""
    first, second = (open_(url=url_for(name, pgbouncer.url())) for _ in range(2))
    for db in (first, second):
        run(db, "SELECT 1")  # both at once: two sessions are opened
    for db in (first, second):
        db.commit()

    seen = set()
    for db in (first, first, second, first):
        seen.add(value(db, "SELECT pg_backend_pid()"))
        db.commit()

    assert len(seen) == 2
