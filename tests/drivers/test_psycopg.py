"""What is particular to psycopg 3: interrupts in blocks, half-read streams, prepared statements, its arguments."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import psycopg.rows
import pytest

import taskconn
from taskconn.drivers.psycopg import Connection, Psycopg
from taskconn.errors import InvalidSettingsError, TaintedConnectionError
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase
from tests.support.process import Script

driver = Psycopg()


class SoftTimeLimitExceeded(Exception):  # noqa: N818 -- as Celery's is called
    pass


@pytest.fixture
def db(postgresql_database: PostgreSQLDatabase) -> Iterator[Connection]:
    """Give a connection to a database with the table `car`."""
    postgresql_database.query("CREATE TABLE car (name TEXT)")
    connection = driver.open(target_of(postgresql_database.url), 5)
    yield connection
    driver.close(connection, 1)


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


# -- interrupts ------------------------------------------------------------------------------------------


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

    started = time.monotonic()
    with pytest.raises(kind, match="late") as caught:
        way(db)
    elapsed = time.monotonic() - started

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
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            _execute(db)
        except psycopg.Error as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 5
    while not driver.has_pending_reply(db) and time.monotonic() < deadline:
        time.sleep(0.001)
    driver.invalidate(db)
    thread.join(5)

    assert not thread.is_alive()
    assert errors


# -- half done -------------------------------------------------------------------------------------------


def test_half_read_stream_costs_the_connection_not_the_commit(db: Connection) -> None:
    """Who still holds the rows could cancel the next task's query, so the connection goes after the commit."""
    db.execute("INSERT INTO car VALUES ('Volvo')")
    rows = db.cursor().stream("SELECT generate_series(1, 1000)")
    next(rows)
    assert driver.has_pending_reply(db)

    driver.commit(db, 5)

    assert not driver.is_open(db)
    rows.close()


@pytest.mark.parametrize("what", ["copy", "pipeline", "transaction"])
def test_block_that_was_left_open_is_not_committed(db: Connection, what: str) -> None:
    """A COPY, a pipeline or a transaction block that nobody ended is no finished work."""
    db.execute("INSERT INTO car VALUES ('Volvo')")
    blocks = {
        "copy": lambda: db.cursor().copy("COPY car FROM STDIN"),
        "pipeline": db.pipeline,
        "transaction": db.transaction,
    }
    block = blocks[what]()
    block.__enter__()
    assert driver.has_pending_reply(db)

    with pytest.raises(psycopg.Error, match="was left open; COMMIT was not sent"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    driver.invalidate(db)
    with contextlib.suppress(psycopg.Error):
        block.__exit__(psycopg.Error, psycopg.OperationalError(), None)


# -- between two tasks -----------------------------------------------------------------------------------


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


# -- forks -----------------------------------------------------------------------------------------------

_CHILD_IN_BLOCKS = """
import gc, os, sys
import taskconn

cars = taskconn.Registry().add("cars", sys.argv[1])
with taskconn.lease(cars) as db:
    rows = db.cursor().stream("SELECT pg_sleep(0.001) FROM generate_series(1, 500)")
    next(rows)
    pid = os.fork()
    if pid == 0:
        del rows  # psycopg would cancel the query, over a connection of its own
        gc.collect()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(list(rows)) == 499
    for left_by in ("return", "sys.exit"):
        pid = 1
        with db.transaction():
            db.execute("INSERT INTO car VALUES ('Volvo')")
            pid = os.fork()
            if pid == 0 and left_by == "sys.exit":
                sys.exit(7)
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
with taskconn.lease(cars) as db:
    print(db.execute("SELECT count(*) FROM car").fetchone())
cars.registry.close()
"""


def test_child_leaves_blocks_and_streams_of_its_parent_alone(
    script: Callable[..., Script], postgresql_database: PostgreSQLDatabase
) -> None:
    """Leaving a block in a child is silent and hides nothing; rows that it drops do not cancel the parent's query."""
    postgresql_database.query("CREATE TABLE car (name TEXT)")

    output = script(_CHILD_IN_BLOCKS, postgresql_database.url).succeed()

    assert output.splitlines() == ["(2,)"]


# -- arguments -------------------------------------------------------------------------------------------


def test_strings_of_the_url_become_what_psycopg_takes(postgresql_database: PostgreSQLDatabase) -> None:
    """Factories are named, thresholds are numbers or none, libpq's arguments stay strings."""
    query = {
        "row_factory": "dict_row",
        "cursor_factory": "ClientCursor",
        "prepare_threshold": "none",
        "sslmode": "disable",
    }
    db = driver.open(target_of(postgresql_database.url, query=query), 5)

    assert (db.row_factory, db.cursor_factory, db.prepare_threshold) == (
        psycopg.rows.dict_row,
        psycopg.ClientCursor,
        None,
    )
    assert db.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    driver.close(db, 1)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("row_factory", "os.system", "dict_row"),
        ("cursor_factory", "connect", "cursor class of psycopg"),
        ("prepare_threshold", "soon", "Mend the value"),
        ("context", "{}", "connect_args="),
    ],
)
def test_string_that_cannot_be_read_is_refused(
    postgresql_database: PostgreSQLDatabase, name: str, text: str, hint: str
) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=hint):
        driver.validate(target_of(postgresql_database.url, query={name: text}))


def test_host_with_several_addresses_is_tried_at_each(postgresql_database: PostgreSQLDatabase) -> None:
    """Of a list of hosts the first that answers is taken, within the one timeout."""
    server = postgresql_database.server
    url = f"postgresql:///{postgresql_database.name}?host=127.0.0.9,{server.host}&port=1,{server.port}"
    db = driver.open(target_of(url, user=server.user, password=server.password), 5)

    assert db.info.port == server.port
    driver.close(db, 1)


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
