"""Both PostgreSQL drivers: outcomes of COMMIT, savepoints, and what of a joined lease may not be settled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import taskconn
from taskconn import errors
from taskconn.driver import Driver
from tests.drivers.postgresql.clients import Make, run, value
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase
from tests.support.wire import Wire


def test_lost_answer_to_commit_is_pending(
    name: str, driver: Driver[Any], url: str, postgresql_database: PostgreSQLDatabase, wire: Callable[..., Wire]
) -> None:
    """Nobody can tell whether a COMMIT without an answer was done; here it was."""
    proxy = wire(postgresql_database.server)
    db = driver.open(target_of(url, port=proxy.port), 5)
    run(db, "INSERT INTO car VALUES (1, 'Volvo')")

    proxy.hold_answers()
    with pytest.raises(driver.errors):
        driver.commit(db, 0.2)

    assert driver.session(db).pending
    deadline = time.monotonic() + 5
    while not postgresql_database.query("SELECT 1 FROM car") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert postgresql_database.query("SELECT name FROM car") == [("Volvo",)]
    proxy.release_answers()


def test_commit_that_the_server_refuses_is_not_pending(driver: Driver[Any], open_: Make) -> None:
    """A deferred constraint speaks up at COMMIT: the server has rolled back, and said so."""
    db = open_()
    run(db, "INSERT INTO car VALUES (1, 'Volvo'), (1, 'Lada')")

    with pytest.raises(driver.errors, match="duplicate key"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    assert driver.is_settled(db)
    assert value(db, "SELECT count(*) FROM car") == 0


def test_commit_on_a_dead_connection_is_not_sent(
    driver: Driver[Any], open_: Make, postgresql_database: PostgreSQLDatabase
) -> None:
    """A session that the server ended before the COMMIT has certainly not committed."""
    db = open_()
    run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    postgresql_database.server.kill_session(int(driver.identity(db) or 0))

    with pytest.raises(driver.errors, match="COMMIT was not sent"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    assert not driver.is_open(db)


def test_commit_after_a_swallowed_error_is_an_error(driver: Driver[Any], open_: Make) -> None:
    """PostgreSQL answers such a COMMIT by ROLLBACK, and no library says so: a task would report work that is lost."""
    db = open_()
    run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    with pytest.raises(driver.errors, match="division by zero"):
        run(db, "SELECT 1/0")

    with pytest.raises(driver.errors, match="its error was swallowed"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    driver.rollback(db, 5)
    assert driver.is_settled(db)


def test_transaction_begun_by_sql_is_settled_too(driver: Driver[Any], open_: Make) -> None:
    """BEGIN and COMMIT as statements pass the library by; what they leave is the lease's to end all the same."""
    db = open_()
    db.autocommit = True
    run(db, "BEGIN")
    run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    assert not driver.is_settled(db)
    driver.rollback(db, 5)
    assert driver.is_settled(db)
    assert not driver.is_as_opened(db)
    driver.restore(db)

    run(db, "INSERT INTO car VALUES (2, 'Lada')")
    run(db, "COMMIT")
    driver.commit(db, 5)
    run(db, "INSERT INTO car VALUES (3, 'Saab')")
    driver.rollback(db, 5)

    assert run(db, "SELECT name FROM car").fetchall() == [("Lada",)]


def test_savepoint_undoes_a_failed_statement_alone(driver: Driver[Any], open_: Make) -> None:
    """After going back to a savepoint the transaction goes on, with what was done before it."""
    db = open_()
    run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    driver.savepoint(db, "before")
    with pytest.raises(driver.errors, match="division by zero"):
        run(db, "SELECT 1/0")

    driver.rollback_to(db, "before")
    driver.release(db, "before")
    driver.commit(db, 5)

    assert run(db, "SELECT name FROM car").fetchall() == [("Volvo",)]


def test_joined_lease_does_not_settle_by_a_block(name: str, url: str) -> None:
    """A block that would commit is refused where the outer lease is to; with a transaction open it is a savepoint."""
    cars = taskconn.Registry().add("cars", url)
    with taskconn.lease(cars), taskconn.lease(cars) as inner:
        with pytest.raises(errors.ManualSettlementError, match="outermost lease"):
            inner.autocommit = True
        if name == "psycopg":
            with pytest.raises(errors.ManualSettlementError, match="outermost lease"), inner.transaction():
                pass
            run(inner, "SELECT 1")
            with inner.transaction():
                run(inner, "INSERT INTO car VALUES (1, 'Volvo')")
    cars.registry.close()
