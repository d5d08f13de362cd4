"""psycopg2: what it waits for in C, and how that is ended."""

from __future__ import annotations

import signal
import socket
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions as ext

from taskconn.drivers.psycopg2 import Connection
from taskconn.errors import TaintedConnectionError
from tests.drivers.postgresql.clients import drop_while_it_waits
from tests.drivers.psycopg2.client import driver, url_of
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase
from tests.support.limits import SoftTimeLimitExceeded, strike


def test_soft_limit_is_heard_when_the_query_ends_and_taints_nothing(db: Connection) -> None:
    """The exception comes after the reply, so the connection is as good as before."""
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
            driver.open(target_of(url_of(postgresql_database), port=silent.getsockname()[1]), 0.1)
        accepted, _ = silent.accept()  # by the kernel; nobody answers
        accepted.settimeout(10)
        while accepted.recv(1000):
            pass
        accepted.close()


def test_dropping_wakes_who_waits(db: Connection) -> None:
    """A thread in the middle of a query gets psycopg2's error when its connection is invalidated by another."""
    error = drop_while_it_waits(driver, db, lambda: db.cursor().execute("SELECT pg_sleep(10)"))

    assert isinstance(error, psycopg2.Error)
