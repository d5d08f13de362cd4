"""psycopg 3: an interrupt passes through every block as itself, and wakes who waits."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from taskconn.drivers.psycopg import Connection
from taskconn.errors import TaintedConnectionError
from tests.drivers.postgresql.clients import drop_while_it_waits
from tests.drivers.psycopg.client import driver
from tests.support.databases import PostgreSQLDatabase
from tests.support.limits import SoftTimeLimitExceeded
from tests.support.stopwatch import Stopwatch


@pytest.fixture
def strike() -> Iterator[Callable[[BaseException, float], None]]:
    """Give a function that has an exception raised in the main thread, by a real signal, some seconds later."""
    raised: list[BaseException] = []

    def handle(*_: object) -> None:
        raise raised[0]

    before = signal.signal(signal.SIGALRM, handle)

    def arm(exception: BaseException, delay_s: float) -> None:
        raised[:] = [exception]
        signal.setitimer(signal.ITIMER_REAL, delay_s)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _execute(db: Connection) -> None:
    db.execute("SELECT pg_sleep(10)")


def _transaction(db: Connection) -> None:
    with db.transaction():
        db.execute("SELECT pg_sleep(10)")


def _savepoint(db: Connection) -> None:
    db.execute("SELECT 1")
    with db.transaction():
        db.execute("SELECT pg_sleep(10)")


def _pipeline(db: Connection) -> None:
    with db.pipeline():
        db.execute("SELECT pg_sleep(10)").fetchone()


def _server_cursor(db: Connection) -> None:
    with db.cursor("slow") as cursor:
        cursor.execute("SELECT pg_sleep(10)")
        cursor.fetchone()


def _copy(db: Connection) -> None:
    with db.cursor().copy("COPY (SELECT pg_sleep(10)) TO STDOUT") as copy:
        for _ in copy:
            pass


def _stream(db: Connection) -> None:
    for _ in db.cursor().stream("SELECT pg_sleep(10)"):
        pass


def _executemany(db: Connection) -> None:
    db.cursor().executemany("SELECT pg_sleep(%s)", [(10,), (10,)])


_WAYS = [_execute, _transaction, _savepoint, _pipeline, _server_cursor, _copy, _stream, _executemany]


@pytest.mark.parametrize("way", _WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, KeyboardInterrupt, SystemExit])
def test_interrupt_passes_through_every_block_as_itself(
    db: Connection, strike: Callable[..., None], way: Callable[[Connection], None], kind: type[BaseException]
) -> None:
    """No block of psycopg's masks what interrupted it, none waits for the server, and the connection is spent."""
    interrupt = kind("late")
    strike(interrupt, 0.1)

    watch = Stopwatch()
    with pytest.raises(kind, match="late") as caught:
        way(db)
    elapsed = watch.seconds()

    assert caught.value is interrupt
    assert elapsed < 1
    assert driver.session(db).interrupt == kind.__name__
    assert not driver.is_open(db)
    with pytest.raises(TaintedConnectionError, match=f"Let {kind.__name__} end the task"):
        db.execute("SELECT 1")
    db.rollback()


@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, KeyboardInterrupt, SystemExit])
def test_statement_is_ended_over_a_connection_that_is_closed(
    db: Connection, strike: Callable[..., None], postgresql_database: PostgreSQLDatabase, kind: type[BaseException]
) -> None:
    """What the cancel request takes outlives the connection, and holds no interrupt up."""
    strike(kind("late"), 0.1)
    with pytest.raises(kind, match="late"):
        _execute(db)
    assert postgresql_database.sessions() != []

    assert driver.cancel(db, 5) is True

    deadline = time.monotonic() + 30
    while postgresql_database.sessions():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_connection_that_nothing_struck_has_nothing_to_end(db: Connection) -> None:
    """Nothing is sent to a server for a connection that is not in a statement."""
    assert driver.cancel(db, 5) is False


def test_value_that_cannot_be_sent_is_no_interrupt(db: Connection) -> None:
    """What fails before the first byte leaves the connection as it was."""
    with pytest.raises(UnicodeEncodeError):
        db.execute("SELECT %s", ["\ud800"])

    assert driver.session(db).interrupt == ""
    assert db.execute("SELECT 1").fetchone() == (1,)


def test_dropping_wakes_who_waits(db: Connection) -> None:
    """A thread in the middle of a query gets psycopg's error when its connection is invalidated by another."""
    error = drop_while_it_waits(driver, db, lambda: _execute(db))

    assert isinstance(error, psycopg.Error)
