"""What is particular to psycopg2: cursor classes, COPY, limits of a thread that waits in C, its arguments."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import extensions as ext

import taskconn
from taskconn._watchdog import Deadline
from taskconn.drivers.psycopg2 import Connection, Psycopg2
from taskconn.errors import InheritedConnectionError, InvalidSettingsError, TaintedConnectionError
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase
from tests.support.process import Script

driver = Psycopg2()


class SoftTimeLimitExceeded(Exception):  # noqa: N818 -- as Celery's is called
    pass


def _url(database: PostgreSQLDatabase) -> str:
    return database.url.replace("postgresql:", "postgresql+psycopg2:", 1)


@pytest.fixture
def db(postgresql_database: PostgreSQLDatabase) -> Iterator[Connection]:
    """Give a connection to a database with the table `car`."""
    postgresql_database.query("CREATE TABLE car (id INT, name TEXT)")
    connection = driver.open(target_of(_url(postgresql_database)), 5)
    yield connection
    driver.close(connection, 1)


# -- cursors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", ["DictCursor", "RealDictCursor", "NamedTupleCursor", "LoggingCursor"])
@pytest.mark.parametrize("name", [None, "lives_at_the_server"])
def test_every_cursor_class_is_guarded(db: Connection, factory: str, name: str | None) -> None:
    """Whatever class the task asks for counts statements, and refuses after an interrupt."""
    found = getattr(psycopg2.extras, factory)
    if factory == "LoggingCursor":
        found = type("Own", (ext.cursor,), {})
    cursor = db.cursor(name, cursor_factory=found)
    cursor.execute("SELECT g AS id FROM generate_series(1, 3) g")
    rows = list(cursor)
    cursor.close()

    assert isinstance(cursor, found)
    assert [row["id"] if "Dict" in factory else row[0] for row in rows] == [1, 2, 3]
    assert db.session.sent >= 1
    db.session.interrupt = "SoftTimeLimitExceeded"
    for call in (lambda: db.cursor(cursor_factory=found), lambda: cursor.execute("SELECT 1")):
        with pytest.raises(TaintedConnectionError, match="end the task"):
            call()


def test_cursor_that_is_no_class_counts_too(db: Connection) -> None:
    """Where a function makes the cursors, a statement is presumed."""
    cursor = db.cursor(cursor_factory=lambda connection, name: ext.cursor(connection, name))  # noqa: PLW0108 -- a function

    assert type(cursor) is ext.cursor
    assert db.session.sent == 1


def test_ways_around_execute_are_counted(db: Connection) -> None:
    """COPY, many rows at once and functions of the server are statements as well."""
    cursor = db.cursor()
    cursor.copy_from(io.StringIO("1\tVolvo\n"), "car")
    cursor.copy_expert("COPY car TO STDOUT", io.StringIO())
    cursor.executemany("INSERT INTO car VALUES (%s, 'Lada')", [(2,), (3,)])
    psycopg2.extras.execute_values(cursor, "INSERT INTO car VALUES %s", [(4, "Saab")])
    cursor.callproc("pg_backend_pid")

    assert db.session.sent == 5
    driver.commit(db, 5)
    assert db.session.sent == 5
    assert driver.is_settled(db)


@pytest.mark.parametrize("end", [SoftTimeLimitExceeded, KeyboardInterrupt])
@pytest.mark.parametrize("way", ["copy_from", "copy_to"])
def test_interrupt_in_a_copy_gives_no_wrong_answer(db: Connection, end: type[BaseException], way: str) -> None:
    """A file that raises in the middle of a COPY leaves a connection that is right, or refused."""

    class Struck(io.StringIO):
        def read(self, *_: Any) -> str:
            raise end

        def write(self, *_: Any) -> int:
            raise end

    cursor = db.cursor()
    cursor.execute("INSERT INTO car SELECT g, 'Volvo' FROM generate_series(1, 100000) g")
    with pytest.raises((end, psycopg2.Error)):
        getattr(cursor, way)(Struck(), "car")

    if driver.has_pending_reply(db) or db.session.interrupt:
        return
    driver.rollback(db, 5)
    cursor.execute("SELECT 42")
    assert cursor.fetchall() == [(42,)]


# -- what waits in C -------------------------------------------------------------------------------------


def test_soft_limit_is_heard_when_the_query_ends_and_taints_nothing(db: Connection) -> None:
    """The exception comes after the reply, so the connection is as good as before."""

    def strike(*_: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(SoftTimeLimitExceeded):
            db.cursor().execute("SELECT pg_sleep(0.3)")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert db.session.interrupt == ""
    cursor = db.cursor()
    cursor.execute("SELECT 42")
    assert cursor.fetchall() == [(42,)]


def test_interrupt_in_a_wait_callback_taints(db: Connection) -> None:
    """Where waiting is cooperative an interrupt strikes at once, and psycopg2 closes: later use says why."""

    def wait(connection: Any) -> None:
        connection.poll()
        raise SoftTimeLimitExceeded

    ext.set_wait_callback(wait)
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            db.cursor().execute("SELECT pg_sleep(1)")
    finally:
        ext.set_wait_callback(None)

    assert db.session.interrupt == "SoftTimeLimitExceeded"
    with pytest.raises(TaintedConnectionError, match="end the task"):
        db.cursor()


def test_silent_server_leaves_no_connection_behind(postgresql_database: PostgreSQLDatabase) -> None:
    """The thread that connects is given up, then gives up by itself: its socket is closed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(psycopg2.OperationalError, match=r"no login within 0\.1 s"):
            driver.open(target_of(_url(postgresql_database), port=silent.getsockname()[1]), 0.1)
        accepted, _ = silent.accept()  # by the kernel; nobody answers
        accepted.settimeout(10)
        while accepted.recv(1000):
            pass
        accepted.close()


def test_dropping_wakes_who_waits(db: Connection) -> None:
    """A thread in the middle of a query gets psycopg2's error when its connection is invalidated by another."""
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            db.cursor().execute("SELECT pg_sleep(10)")
        except psycopg2.Error as error:
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


# -- the watchdog ----------------------------------------------------------------------------------------


def test_deadline_shuts_the_socket_that_it_was_given_for() -> None:
    """The end of the time is the end of the wait, for the earlier of two first."""
    (ours, theirs), (later, other) = socket.socketpair(), socket.socketpair()
    with ours, theirs, later, other:
        started = time.monotonic()
        with Deadline(later.fileno(), 10) as unused, Deadline(ours.fileno(), 0.1) as deadline:
            assert ours.recv(1) == b""

        assert 0.09 < time.monotonic() - started < 1
        assert (deadline.has_passed, unused.has_passed) == (True, False)
        other.send(b"x")
        assert later.recv(1) == b"x"


def test_deadline_leaves_another_socket_with_its_number_alone() -> None:
    """A descriptor that was closed and given out again is somebody else's."""
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    with Deadline(fd, 0.1) as deadline:
        ours.close()
        theirs.close()
        again, other = socket.socketpair()
        assert fd in (again.fileno(), other.fileno())
        while not deadline.has_passed:
            time.sleep(0.01)

    again.send(b"x")
    assert other.recv(1) == b"x"
    again.close()
    other.close()


def test_child_has_a_watchdog_of_its_own(script: Callable[..., Script]) -> None:
    """Threads do not survive a fork: the child's deadlines are looked after by a thread of the child's."""
    source = """
        import os, socket
        from taskconn._watchdog import Deadline

        def wait():
            ours, theirs = socket.socketpair()
            with Deadline(ours.fileno(), 0.1) as deadline:
                assert ours.recv(1) == b""
            assert deadline.has_passed

        wait()
        pid = os.fork()
        wait()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """
    import textwrap

    assert script(textwrap.dedent(source)).succeed() == ""


# -- forks -----------------------------------------------------------------------------------------------


def test_child_can_neither_cancel_nor_poll_nor_close_a_cursor(db: Connection) -> None:
    """Cancelling opens a connection of its own, which no dead socket stops."""
    cursor = db.cursor("half")
    cursor.execute("SELECT generate_series(1, 1000)")
    db.session.owner_pid += 1  # as a child sees it

    for call in (db.cancel, db.poll, db.reset, cursor.fetchone, lambda: next(iter(cursor)), lambda: db.lobject(0)):
        with pytest.raises(InheritedConnectionError, match="Lease it where it is used"):
            call()
    cursor.close()
    db.close()
    with db:
        pass

    db.session.owner_pid = os.getpid()
    assert len(cursor.fetchall()) == 1000


# -- arguments -------------------------------------------------------------------------------------------


def test_strings_of_the_url_become_what_psycopg2_takes(postgresql_database: PostgreSQLDatabase) -> None:
    """A cursor class is named, libpq's arguments stay strings."""
    query = {"cursor_factory": "RealDictCursor", "sslmode": "disable"}
    db = driver.open(target_of(_url(postgresql_database), query=query), 5)

    cursor = db.cursor()
    cursor.execute("SELECT 1 AS one")
    assert cursor.fetchone() == {"one": 1}
    assert db.info.dsn_parameters["sslmode"] == "disable"
    driver.close(db, 1)


def test_class_that_is_no_cursor_is_refused(postgresql_database: PostgreSQLDatabase) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=r"cursor class of psycopg2\.extras"):
        driver.validate(target_of(_url(postgresql_database), query={"cursor_factory": "os.system"}))


def test_cursor_class_of_a_task_is_not_the_next_ones(postgresql_database: PostgreSQLDatabase) -> None:
    """What a task hangs on the client is taken off, and notices for it are forgotten."""
    cars = taskconn.Registry().add("cars", _url(postgresql_database))
    with taskconn.lease(cars) as db:
        db.cursor_factory = psycopg2.extras.DictCursor
        db.cursor().execute("DO $$ BEGIN RAISE NOTICE 'psst'; END $$")

    with taskconn.lease(cars) as db:
        assert db.cursor_factory is None
        assert db.notices == []
    cars.registry.close()
