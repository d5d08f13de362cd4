"""A client by `connect=` that holds a lock of its own: whoever settles it must not wait for rows that nobody reads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from taskconn import Registry, lease
from taskconn.drivers.callables import ClientError
from tests.support.databases import PostgreSQLDatabase
from tests.support.process import Script

# What waits for a lock in a commit hears no alarm.
pytestmark = pytest.mark.timeout(120, method="thread")

#: As in a worker process: there is one thread, and it holds what it would wait for.
_TASKS = """
import sys, time
import psycopg
import taskconn
from taskconn.drivers.callables import ClientError

url, end, transaction = sys.argv[1:]
taskconn.configure({"cars": {
    "connect": lambda: psycopg.connect(url),
    "transaction": transaction,
    "settle_timeout": 60,
    "reset": lambda db: db.execute("SELECT 1"),
}})
kept = []

def leave_half_read():
    with taskconn.lease("cars") as db:
        db.execute("INSERT INTO car VALUES ('Lada')")
        rows = db.cursor().stream("SELECT generate_series(1, 20000)")
        assert next(rows) == (1,)
        kept.append(rows)
        if end == "raises":
            raise ZeroDivisionError
        return db

started = time.monotonic()
try:
    leave_half_read()
except (ClientError, ZeroDivisionError) as error:
    print("error", type(error).__name__, str(error))
with taskconn.lease("cars") as db:
    assert db.execute("SELECT 5").fetchall() == [(5,)]
    db.execute("INSERT INTO car VALUES ('Volvo')")
    db.commit()
assert time.monotonic() - started < 30
"""


@pytest.fixture
def cars(postgresql_database: PostgreSQLDatabase) -> PostgreSQLDatabase:
    """Give a database with an empty table of cars."""
    postgresql_database.query("CREATE TABLE car (name TEXT)")
    return postgresql_database


@pytest.mark.parametrize(
    ("end", "transaction", "said"),
    [
        ("returns", "task", "error ClientError Connection is busy: rows that were not read to their end"),
        ("raises", "task", "error ZeroDivisionError"),
        ("returns", "none", ""),
    ],
    ids=["returns", "raises", "settles by itself"],
)
def test_half_read_rows_keep_no_task_waiting(
    cars: PostgreSQLDatabase, script: Callable[..., Script], end: str, transaction: str, said: str
) -> None:
    """The `commit()` and `rollback()` of psycopg would wait for ever for rows that a variable still holds."""
    output = script(_TASKS, cars.url, end, transaction).succeed(60)

    assert output.startswith(said)
    assert cars.query("SELECT name FROM car") == [("Volvo",)]


def test_half_read_rows_beside_another_thread_are_waited_for_in_vain(cars: PostgreSQLDatabase) -> None:
    """Where another thread might free the lock, the commit waits for as long as `settle_timeout` says."""
    registry = Registry()
    handle = registry.add("cars", {"connect": lambda: psycopg.connect(cars.url), "settle_timeout": 0.2})
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        with pytest.raises(ClientError, match=r"rows that were not read.*commit\(\) would wait.*not called"):
            with lease(handle) as db:
                db.execute("INSERT INTO car VALUES ('Lada')")
                rows = db.cursor().stream("SELECT generate_series(1, 20000)")
                assert next(rows) == (1,)
    finally:
        end.set()
        other.join()

    with lease(handle) as again:
        assert again is not db
        assert again.execute("SELECT count(*) FROM car").fetchall() == [(0,)]
    registry.close()


class Locked:
    """A client whose every call takes its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.said: list[str] = []
        self.has_closed = threading.Event()

    def commit(self) -> None:
        with self.lock:
            self.said.append("commit")

    def rollback(self) -> None:
        with self.lock:
            self.said.append("rollback")

    def close(self) -> None:
        with self.lock:
            self.said.append("close")
            self.has_closed.set()


@pytest.fixture
def locked() -> Iterator[Any]:
    """Give a handle of such a client."""
    registry = Registry()
    yield registry.add("locked", {"connect": Locked, "settle_timeout": 30})
    registry.close()


def test_lock_that_another_thread_holds_for_a_moment_is_waited_for(locked: Any) -> None:
    """A client may have a thread of its own, which is at work for a moment as the task ends."""
    with lease(locked) as client:
        client.lock.acquire()
        threading.Timer(0.05, client.lock.release).start()

    assert client.said == ["commit"]


def test_client_that_can_not_be_closed_keeps_nobody_waiting(locked: Any) -> None:
    """It is closed by a thread of its own, when whoever holds the lock lets go of it."""
    with pytest.raises(ZeroDivisionError), lease(locked) as client:
        client.lock.acquire()
        raise ZeroDivisionError

    assert client.said == []
    client.lock.release()
    assert client.has_closed.wait(30)
    assert client.said == ["close"]


_DROPS = """
import gc, os, sys
import taskconn

taskconn.configure({"cars": {"connect": "psycopg:connect", "connect_args": {"conninfo": sys.argv[1]}}})
with taskconn.lease("cars") as db:
    rows = db.cursor().stream("SELECT n, repeat('x', 10000) FROM generate_series(1, 3000) AS n")
    numbers = [next(rows)[0]]
    child = os.fork()
    if child == 0:
        del rows
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    numbers += [row[0] for row in rows]
print(numbers == list(range(1, 3001)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_rows_that_a_child_drops_are_the_parents_to_read(
    cars: PostgreSQLDatabase, script: Callable[..., Script]
) -> None:
    """Rows of psycopg: it would have the server cancel the statement, over a connection of its own."""
    assert script(_DROPS, cars.url).succeed().splitlines()[-1] == "True"
