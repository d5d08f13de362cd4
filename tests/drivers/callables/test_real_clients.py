"""Clients without a driver: PyMySQL and pymongo as they are, at their servers."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import mysql.connector
import pymysql
import pytest

from taskconn import Registry, lease
from taskconn.errors import CommitOutcomeUnknownError
from tests.support.core import task_system
from tests.support.databases import MySQLDatabase
from tests.support.limits import SoftTimeLimitExceeded, Unheard
from tests.support.mongo import MongoPeer
from tests.support.process import Script
from tests.support.wire import Wire

#: Longest wait for what is a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


def _connect(port: int, **arguments: Any) -> Any:
    return pymysql.connect(port=port, **arguments)


@pytest.fixture
def pymysql_alias(mysql_database: MySQLDatabase) -> Iterator[Callable[..., Any]]:
    """Give a function that makes a handle of a plain PyMySQL connection, with options."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    server = mysql_database.server
    registry = Registry()
    place = {"host": server.host, "user": server.user, "password": server.password, "database": mysql_database.name}

    def make(port: int | None = None, connect: Any = _connect, name: str = "cars", **options: Any) -> Any:
        return registry.add(
            name, {"connect": connect, "connect_args": {**place, "port": port or server.port}, **options}
        )

    yield make
    registry.close()


def test_plain_connection_of_a_library_is_settled(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase
) -> None:
    """A DB-API connection needs nothing but its `connect` function."""
    handle = pymysql_alias(check=lambda connection: connection.ping(reconnect=False))
    with lease(handle) as db:
        db.cursor().execute("INSERT INTO car VALUES ('Volvo')")
    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.cursor().execute("INSERT INTO car VALUES ('Lada')")
        raise ZeroDivisionError

    assert mysql_database.query("SELECT name FROM car") == [("Volvo",)]


def test_default_timeout_of_sockets_leaves_a_plain_connection_blocking(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase
) -> None:
    """PyMySQL waits for its server without a limit, whatever limit the program has for new sockets."""
    socket.setdefaulttimeout(30)
    try:
        for _ in range(2):
            with lease(pymysql_alias()) as db:
                db.cursor().execute("INSERT INTO car SELECT SLEEP(0.05)")
    finally:
        socket.setdefaulttimeout(None)

    assert mysql_database.query("SELECT name FROM car") == [("0",), ("0",)]


def test_commit_without_an_answer_has_an_unknown_outcome(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase, wire: Callable[..., Wire]
) -> None:
    """The time is up between COMMIT and its answer: what the server made of it is unknown, and said to be."""
    cut = wire(mysql_database.server)
    with pytest.raises(CommitOutcomeUnknownError), lease(pymysql_alias(cut.port, settle_timeout=2)) as db:
        db.cursor().execute("INSERT INTO car VALUES ('Volvo')")
        cut.hold_answers()
    cut.release_answers()

    mysql_database.wait_for("SELECT name FROM car", [("Volvo",)])


_CUTS = """
import signal, sys
from tests.support.wire import Wire
wire = Wire(int(sys.argv[1]))
wire.hold_answer_to(b"\\x03COMMIT")
print("port", wire.port)
wire.has_come.wait()
wire.cut(0)
wire.release_answers()
signal.pause()
"""


def test_commit_whose_connection_is_cut_has_an_unknown_outcome(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase, script: Callable[..., Script]
) -> None:
    """
    PyMySQL closes its socket as it reads the end: nothing is left to look at, and nothing was answered.

    A younger connection of taskconn's to the same server tells nothing of it.
    """
    proxy = script(_CUTS, str(mysql_database.server.port))  # sockets of this process could be the client's
    port = int(proxy.wait_for(r"^port (\d+)$")[1])
    handle, other = pymysql_alias(port), pymysql_alias(port, name="other")

    with pytest.raises(CommitOutcomeUnknownError), lease(handle) as db:
        db.cursor().execute("INSERT INTO car VALUES ('Volvo')")
        with pytest.raises(ZeroDivisionError), lease(other):
            raise ZeroDivisionError


@pytest.mark.parametrize("is_driven", [False, True], ids=["of the alias", "of a driver"])
def test_limit_in_a_thread_leaves_the_connections_of_others_alone(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase, *, is_driven: bool
) -> None:
    """A task that is interrupted costs its own connection, not a younger one to the same server."""
    handle = pymysql_alias(max_size=2)
    registry = Registry()
    driven = registry.add("driven", mysql_database.url)
    has_opened, may_end = threading.Event(), threading.Event()

    def be_interrupted() -> None:
        with contextlib.suppress(SoftTimeLimitExceeded), lease(handle):
            has_opened.set()
            assert may_end.wait(_PATIENCE_S)
            raise SoftTimeLimitExceeded

    thread = threading.Thread(target=be_interrupted)
    with task_system(SoftTimeLimitExceeded):
        thread.start()
        assert has_opened.wait(_PATIENCE_S)
        with lease(driven if is_driven else handle) as db:
            db.cursor().execute("INSERT INTO car VALUES ('Volvo')")
            may_end.set()
            thread.join()
            db.cursor().execute("INSERT INTO car VALUES ('Lada')")
    registry.close()

    assert mysql_database.query("SELECT name FROM car") == [("Volvo",), ("Lada",)]


def _read_for_a_moment(**arguments: Any) -> Any:
    return mysql.connector.connect(**arguments, read_timeout=1, use_pure=True)


def test_commit_that_the_client_does_not_wait_for_has_an_unknown_outcome(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase, wire: Callable[..., Wire]
) -> None:
    """Its own time was up, and it leaves the connection open; the server has committed."""
    cut = wire(mysql_database.server)
    with pytest.raises(CommitOutcomeUnknownError), lease(pymysql_alias(cut.port, connect=_read_for_a_moment)) as db:
        db.cursor().execute("INSERT INTO car VALUES ('Volvo')")
        cut.hold_answers()
    cut.release_answers()

    mysql_database.wait_for("SELECT name FROM car", [("Volvo",)])


def test_limits_in_a_plain_connection_leave_no_wrong_answer(
    pymysql_alias: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 80 real signals that left a task, each next answer is right: the stock client would be off by one."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # one may strike in a destructor
    handle = pymysql_alias()

    def strike(*_: object) -> None:
        raise SoftTimeLimitExceeded

    seen: list[type[Exception]] = []
    before = signal.signal(signal.SIGALRM, strike)
    try:
        with task_system(SoftTimeLimitExceeded):
            for number in range(80):
                with pytest.raises((SoftTimeLimitExceeded, Unheard)) as caught, lease(handle) as db:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 * (number % 25 + 1))
                    for _ in range(200):
                        db.cursor().execute("DO 0")
                    raise Unheard
                seen.append(caught.type)
                with lease(handle) as db, db.cursor() as cursor:
                    cursor.execute("SELECT %s", (number,))
                    assert cursor.fetchall() == ((number,),)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert seen.count(SoftTimeLimitExceeded) >= 50


_PYMONGO = """
import gc, os, sys
import pymongo
import taskconn

port, action = int(sys.argv[1]), sys.argv[2]
taskconn.configure({"mongo": {
    "connect": "pymongo:MongoClient",
    "check": lambda client: client.admin.command("ping"),
    "connect_args": {"host": "127.0.0.1", "port": port, "serverSelectionTimeoutMS": 3000},
}})

def write(client, name):
    client.shop.car.insert_one({"name": name})

held = taskconn.lease("mongo")
parents = held.__enter__()
write(parents, "parent before")
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    if action == "own":
        with taskconn.lease("mongo") as client:
            assert client is not parents
            write(client, "child")
    elif action == "drop":
        held = parents = None
        gc.collect()
    elif action == "close":
        parents.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
write(parents, "parent after")
print("documents", [document["name"] for document in parents.shop.car.find()], flush=True)
held.__exit__(None, None, None)
"""


@pytest.mark.parametrize("action", ["own", "drop", "close"])
def test_pymongo_has_a_client_of_its_own_in_each_process(action: str, script: Callable[..., Script]) -> None:
    """A child's client speaks over sockets of its own; the parent's go on, and are closed at the end."""
    pytest.importorskip("pymongo", reason="pymongo is not installed")
    with MongoPeer() as peer:
        output = script(_PYMONGO, str(peer.port), action).succeed(60)
        deadline = time.monotonic() + 5
        while not all(one.has_ended for one in peer.peers) and time.monotonic() < deadline:
            time.sleep(0.02)

        names = ["parent before", *(["child"] if action == "own" else []), "parent after"]
        assert f"documents {names}" in output
        writers = [one.commands.count("insert") for one in peer.peers if "insert" in one.commands]
        assert writers == ([2, 1] if action == "own" else [2])
        assert all(one.has_ended for one in peer.peers)
