"""SQLAlchemy: what a task gets, a session, a connection or an engine, and how its lease ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session

from taskconn import lease
from taskconn.drivers.sqlalchemy import Connection
from taskconn.errors import ManualSettlementError
from tests.drivers.sqlalchemy.cars import Car, names
from tests.support.databases import MySQLDatabase
from tests.support.wire import Wire


def test_session_is_committed_with_what_was_never_flushed(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """An object that was only added has sent nothing, and is there for all others when the lease has ended."""
    with lease(aliases()) as db:
        assert isinstance(db, Session)
        db.add(Car(name="Volvo"))

    assert names(cars) == ["Volvo"]


def test_failed_task_leaves_nothing(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """What was flushed is rolled back with what was not."""
    with pytest.raises(ZeroDivisionError), lease(aliases()) as db:
        db.add(Car(name="Volvo"))
        db.flush()
        db.add(Car(name="Lada"))
        raise ZeroDivisionError

    assert names(cars) == []


def test_flush_that_fails_at_the_end_is_the_librarys_error(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """The last flush belongs to the task: nothing was committed, and that is known."""
    handle = aliases()
    with pytest.raises(IntegrityError, match="Duplicate entry"), lease(handle) as db:
        db.add_all([Car(name="Volvo"), Car(name="Volvo")])

    with lease(handle) as db:
        assert db.scalars(select(func.count()).select_from(Car)).one() == 0
    assert names(cars) == []


def test_session_is_the_leases_and_useless_afterwards(aliases: Callable[..., Any]) -> None:
    """The next lease has a session of its own on the same connection; the old one refuses, and can't speak there."""
    handle = aliases()
    with lease(handle) as old:
        first = old.scalar(text("SELECT CONNECTION_ID()"))
    with lease(handle) as new:
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            old.scalar(text("SELECT 1"))
        assert (new is old, new.scalar(text("SELECT CONNECTION_ID()"))) == (False, first)


def test_joined_lease_gets_the_same_session(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """Only the outermost lease settles; what a joined one tries by hand is refused and changes nothing."""
    handle = aliases()
    with lease(handle) as outer:
        outer.add(Car(name="Volvo"))
        with lease(handle) as inner:
            assert inner is outer
            for verb in ("begin", "commit", "rollback", "close"):
                with pytest.raises(ManualSettlementError, match="Leave it to the outermost lease"):
                    getattr(inner, verb)()
            with inner.begin_nested():
                inner.add(Car(name="Lada"))

    assert names(cars) == ["Lada", "Volvo"]


def test_closing_a_session_by_hand_rolls_back_and_goes_on(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """As with any session: `close()` ends its transaction, and the next statement begins one."""
    with lease(aliases()) as db:
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        db.close()
        db.add(Car(name="Lada"))

    assert names(cars) == ["Lada"]


def test_connection_is_injected_if_asked_for(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """`inject="connection"` gives SQLAlchemy's own kind of connection, settled as a session is."""
    with lease(aliases(inject="connection")) as db:
        assert isinstance(db, Connection)
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))

    assert names(cars) == ["Volvo"]


def test_statement_past_sqlalchemy_is_settled_too(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """A cursor of the DBAPI's, and the DBAPI's own connection, write into the lease's transaction."""
    handle = aliases()
    with lease(handle) as db:
        db.connection().connection.cursor().execute("INSERT INTO car (name) VALUES ('Volvo')")
    with lease(handle) as db:
        db.connection().connection.driver_connection.query("INSERT INTO car (name) VALUES ('Lada')")
    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.connection().connection.driver_connection.query("INSERT INTO car (name) VALUES ('Saab')")
        raise ZeroDivisionError

    assert names(cars) == ["Lada", "Volvo"]


def test_engine_is_the_tasks_to_settle(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """With `inject="engine"` the task begins and ends its transactions; one connection is kept between leases."""
    handle = aliases(inject="engine")
    with lease(handle) as engine:
        with engine.begin() as db:
            db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        with engine.connect() as db:
            db.execute(text("INSERT INTO car (name) VALUES ('Lada')"))
            first = db.scalar(text("SELECT CONNECTION_ID()"))
    with lease(handle) as engine, engine.connect() as db:
        assert db.scalar(text("SELECT CONNECTION_ID()")) == first

    assert names(cars) == ["Volvo"]


def test_connection_that_a_task_keeps_of_an_engine_is_dropped(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """What is still checked out at the end of a lease is nobody's to use: its transaction ends with it."""
    handle = aliases(inject="engine")
    with lease(handle) as engine:
        kept = engine.connect()
        kept.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
    with lease(handle) as engine, engine.connect() as db:
        assert db.scalar(text("SELECT COUNT(*) FROM car")) == 0

    kept.invalidate()


def test_second_connection_is_not_opened_in_secret(aliases: Callable[..., Any]) -> None:
    """An engine reached through a session opens nothing that no pool of taskconn's would know of."""
    with lease(aliases()) as db, pytest.raises(InvalidRequestError, match="inject='engine'"):
        db.connection().engine.connect()


@pytest.mark.parametrize("inject", ["session", "connection", "engine"])
def test_lease_without_a_statement_costs_no_round_trip(
    aliases: Callable[..., Any], cars: MySQLDatabase, wire: Callable[..., Wire], inject: str
) -> None:
    """Nothing is sent by taking and giving back, nor by beginning what sends nothing."""
    counted = wire(cars.server)
    handle = aliases(port=counted.port, inject=inject)
    with lease(handle):
        pass
    before = counted.sent, counted.requests

    for _ in range(3):
        with lease(handle) as db:
            if inject == "session":
                db.connection()

    assert (counted.sent, counted.requests) == before
