"""SQLAlchemy: limits in statements, and connections that are lost."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from taskconn import lease
from taskconn.errors import CommitOutcomeUnknownError, TaintedConnectionError
from tests.drivers.sqlalchemy.cars import Car, names
from tests.support.core import task_system
from tests.support.databases import MySQLDatabase
from tests.support.limits import SoftTimeLimitExceeded, Unheard, strike
from tests.support.stopwatch import Stopwatch
from tests.support.wire import Wire


def _work_until_struck(db: Session, number: int) -> None:
    """Ask and write until a limit strikes; nothing of it may be there afterwards."""
    signal.setitimer(signal.ITIMER_REAL, 0.0002 * (number % 20 + 1))
    for _ in range(50):
        db.add(Car(name=f"flushed {time.monotonic_ns()}"))
        db.flush()
        assert db.scalar(text("SELECT :n"), {"n": number}) == number
    raise Unheard


def test_limit_reaches_the_task_as_what_it_is(
    aliases: Callable[..., Any], cars: MySQLDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 80 real signals in statements, flushes and fetches: the exception itself, and no answer of another's."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # one may strike in a destructor
    handle = aliases()
    seen: list[type[Exception]] = []
    before = signal.signal(signal.SIGALRM, strike)
    try:
        with task_system(SoftTimeLimitExceeded):
            for number in range(80):
                with pytest.raises((SoftTimeLimitExceeded, Unheard)) as caught, lease(handle) as db:
                    _work_until_struck(db, number)
                seen.append(caught.type)
                with lease(handle) as db:
                    assert db.scalar(text("SELECT :n"), {"n": -number}) == -number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert seen.count(SoftTimeLimitExceeded) >= 50
    assert names(cars) == []


def test_limit_in_a_long_statement_is_not_waited_out(aliases: Callable[..., Any]) -> None:
    """Neither the cursor nor the transaction is closed by way of the server, which is still busy."""
    before = signal.signal(signal.SIGALRM, strike)
    watch = Stopwatch()
    try:
        with pytest.raises(SoftTimeLimitExceeded), lease(aliases()) as db:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            db.execute(text("SELECT SLEEP(3)"))
    finally:
        signal.signal(signal.SIGALRM, before)

    assert watch.seconds() < 1


def test_swallowed_limit_is_noticed(aliases: Callable[..., Any]) -> None:
    """A task that goes on gets a clean error at its next statement, not the reply that it did not wait for."""
    before = signal.signal(signal.SIGALRM, strike)
    try:
        with pytest.raises(TaintedConnectionError, match="SoftTimeLimitExceeded"), lease(aliases()) as db:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                db.execute(text("SELECT SLEEP(3)"))
            except SoftTimeLimitExceeded:
                pass
            with pytest.raises(TaintedConnectionError, match="SoftTimeLimitExceeded"):
                db.execute(text("SELECT 'fresh'"))
    finally:
        signal.signal(signal.SIGALRM, before)


def test_commit_without_an_answer_has_an_unknown_outcome(
    aliases: Callable[..., Any], cars: MySQLDatabase, wire: Callable[..., Wire]
) -> None:
    """COMMIT was sent and its answer never came: the error says so, although here the server has committed."""
    cut = wire(cars.server)
    with pytest.raises(CommitOutcomeUnknownError), lease(aliases(port=cut.port, settle_timeout=2)) as db:
        db.add(Car(name="Volvo"))
        db.flush()
        cut.hold_answers()
    cut.release_answers()

    cars.wait_for("SELECT name FROM car", [("Volvo",)])


def test_commit_that_the_library_does_not_wait_for_has_an_unknown_outcome(
    aliases: Callable[..., Any], cars: MySQLDatabase, wire: Callable[..., Wire]
) -> None:
    """The time of a `read_timeout` was up first: mysql-connector-python says so by a number that others refuse with."""
    proxy = wire(cars.server)
    handle = aliases(port=proxy.port, driver="mysqlconnector", connect_args={"read_timeout": 1})
    with pytest.raises(CommitOutcomeUnknownError), lease(handle) as db:
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        proxy.hold_answer_to(b"\x03COMMIT")
    proxy.release_answers()

    cars.wait_for("SELECT name FROM car", [("Volvo",)])


def test_lost_connection_is_replaced(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """A session that the server has ended shows at the next lease after half a second, without an error."""
    handle = aliases()
    with lease(handle) as db:
        first = db.scalar(text("SELECT CONNECTION_ID()"))
    cars.query(f"KILL {first}")
    cars.wait_for(f"SELECT id FROM information_schema.processlist WHERE id = {first}", [])
    time.sleep(0.6)

    with lease(handle) as db:
        assert db.scalar(text("SELECT CONNECTION_ID()")) != first
