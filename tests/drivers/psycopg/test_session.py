"""psycopg 3: prepared statements, factories and handlers between two tasks."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import psycopg.rows
import pytest

import taskconn
from taskconn.drivers.psycopg import Connection
from tests.drivers.psycopg.client import driver
from tests.support.databases import PostgreSQLDatabase


def test_statements_prepared_after_a_reset_are_forgotten_by_the_next(db: Connection) -> None:
    """Psycopg looks at the first DISCARD ALL alone: later ones would leave names of statements that are gone."""
    driver.reset(db, 5)
    for _ in range(7):
        db.execute("SELECT 1")
    assert db._prepared._names
    driver.commit(db, 5)

    driver.reset(db, 5)

    assert db.execute("SELECT 1").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_prepared_statements_survive_reset_and_rollback(db: Connection) -> None:
    """Psycopg's list of prepared statements is cleared with the server's: no statement is missed later."""
    for turn in range(20):
        assert db.execute("SELECT %s::int", (turn,)).fetchone() == (turn,)
        driver.commit(db, 5) if turn % 2 else driver.rollback(db, 5)
        driver.reset(db, 5)
    for turn in range(10):
        assert db.execute("SELECT %s::int", (turn,)).fetchone() == (turn,)

    assert db.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (1,)


@pytest.mark.parametrize("name", ["row_factory", "cursor_factory", "prepare_threshold", "handler"])
def test_a_single_change_in_the_client_is_seen_after_a_commit(name: str, db: Connection) -> None:
    """The quick look that saves the cleaning misses nothing that cleaning would put back."""
    db.execute("SELECT 1")
    driver.commit(db, 5)
    assert driver.is_as_opened(db)

    if name == "handler":
        db.add_notice_handler(print)
    else:
        value = {"row_factory": psycopg.rows.dict_row, "cursor_factory": psycopg.ClientCursor, "prepare_threshold": 1}
        setattr(db, name, value[name])

    assert not driver.is_as_opened(db)
    driver.restore(db)
    assert driver.is_as_opened(db)


def test_factories_and_handlers_of_a_task_are_not_the_next_ones(db: Connection) -> None:
    """What a task hangs on the client is taken off, and notifications for it are forgotten."""
    heard: list[Any] = []
    db.row_factory = psycopg.rows.dict_row
    db.prepare_threshold = None
    db.read_only = True
    db.add_notice_handler(heard.append)
    db.add_notify_handler(heard.append)

    driver.restore(db)

    assert (db.row_factory, db.prepare_threshold, db.read_only) == (psycopg.rows.tuple_row, 5, None)
    db.execute("DO $$ BEGIN RAISE NOTICE 'psst'; END $$")
    assert heard == []


def test_lease_of_a_task_that_closes_is_replaced(postgresql_database: PostgreSQLDatabase) -> None:
    """``with db:`` commits and closes, as psycopg has it; the next lease opens anew."""
    postgresql_database.query("CREATE TABLE car (name TEXT)")
    cars = taskconn.Registry().add("cars", postgresql_database.url)
    with taskconn.lease(cars) as db, db:
        db.execute("INSERT INTO car VALUES ('Volvo')")

    with taskconn.lease(cars) as again:
        assert again is not db
        assert again.execute("SELECT name FROM car").fetchall() == [("Volvo",)]
    assert os.getpid() == driver.session(again).owner_pid
    cars.registry.close()
