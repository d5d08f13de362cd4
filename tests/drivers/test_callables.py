"""Clients without a driver: how they are opened, checked, settled and closed, and what is found of their sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest

from taskconn import Registry, lease
from taskconn.driver import Peek
from taskconn.drivers.callables import Callables
from taskconn.errors import CommitOutcomeUnknownError, ConnectionFailedError, InvalidSettingsError
from tests.drivers.rows import target_of
from tests.support.core import task_system
from tests.support.databases import MySQLDatabase
from tests.support.mongo import MongoPeer
from tests.support.process import Script
from tests.support.wire import Wire


class Limit(Exception):  # noqa: N818 -- as Celery's is called
    pass


class Unheard(Exception):  # noqa: N818 -- as above
    """Python itself has swallowed the limit: it struck in a destructor."""


class Line:
    """A client of the simplest kind: one socket, and lines."""

    def __init__(self, url: str = "", *, port: int = 0) -> None:
        self.url = url
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.said: list[str] = []

    def say(self, word: str) -> None:
        self.said.append(word)

    def close(self) -> None:
        self.said.append("close")
        self.socket.close()


class TransactionalLine(Line):
    def commit(self) -> None:
        self.said.append("commit")

    def rollback(self) -> None:
        self.said.append("rollback")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Give a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def aliases(listener: socket.socket) -> Iterator[Callable[..., Any]]:
    """Give a function that makes a handle of a client at `listener`, with options."""
    registry = Registry()
    number = iter(range(100))

    def make(connect: Any = Line, url: str | None = None, **options: Any) -> Any:
        arguments = {"connect": connect, "connect_args": {"port": listener.getsockname()[1]}, **options}
        return registry.add(f"line{next(number)}", arguments if url is None else {"url": url, **arguments})

    yield make
    registry.close()


def test_callable_is_a_whole_setting(aliases: Callable[..., Any]) -> None:
    """Nothing but `connect` is needed; the task gets what it gave, the same in the next lease."""
    handle = aliases()
    with lease(handle) as db:
        db.say("hello")
    with lease(handle) as again:
        assert (again is db, again.said) == (True, ["hello"])


def test_url_is_handed_to_the_callable(aliases: Callable[..., Any]) -> None:
    """With the password, as it was before taskconn took it apart; its scheme need be no driver's."""
    with lease(aliases(url="exotic://app:s%2Fcret@db:99/shop?mode=fast")) as db:
        assert db.url == "exotic://app:s%2Fcret@db:99/shop?mode=fast"


def test_callable_may_be_named(aliases: Callable[..., Any]) -> None:
    """`module:attribute` is imported when it is needed: settings can be sent to a spawned process."""
    with lease(aliases("tests.drivers.test_callables:Line")) as db:
        assert type(db).__name__ == "Line"


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"connect": "no_such_module:connect"}, r"connect='no_such_module:connect' can't be imported"),
        ({"connect": Line, "check": "tests.drivers.test_callables:nothing"}, r"check=.* can't be imported"),
        ({"connect": Line, "close": "tests.drivers.test_callables:__name__"}, r"close=.* is not callable"),
        ({"url": "connect://db"}, r"Write \{'connect': function\}"),
    ],
    ids=["no module", "no attribute", "no function", "no callable"],
)
def test_wrong_names_stop_a_worker(options: dict[str, Any], remedy: str) -> None:
    """What is named is imported when a worker checks its settings."""
    registry = Registry()
    registry.add("line", options)

    with pytest.raises(InvalidSettingsError, match=remedy):
        registry.check()


def test_failing_callable_is_a_failed_connection(aliases: Callable[..., Any]) -> None:
    """Whatever the client raises is a connection that could not be had, with the client's words."""

    def connect(**_: Any) -> Any:
        raise LookupError("no such host")

    with pytest.raises(ConnectionFailedError, match="LookupError: no such host"), lease(aliases(connect)):
        pass


def test_limit_while_connecting_is_no_failed_connection(aliases: Callable[..., Any]) -> None:
    """A time limit reaches the task as what it is."""

    def connect(**_: Any) -> Any:
        raise Limit

    with task_system(Limit), pytest.raises(Limit), lease(aliases(connect)):
        pass


def test_check_false_at_open_is_a_failed_connection(aliases: Callable[..., Any]) -> None:
    """A client that connects later is made to connect by `check`, and refused if it can't."""
    with pytest.raises(ConnectionFailedError, match="said False"), lease(aliases(check=lambda _: False)):
        pass


def test_client_without_transactions_is_not_settled(aliases: Callable[..., Any]) -> None:
    """Nothing is called that the client does not have."""
    with lease(aliases()) as db:
        db.say("hello")

    assert db.said == ["hello"]


@pytest.mark.parametrize(("fails", "end"), [(False, "commit"), (True, "rollback")], ids=["returns", "raises"])
def test_client_with_transactions_is_settled(aliases: Callable[..., Any], end: str, *, fails: bool) -> None:
    """One with `commit` and `rollback` is settled after every lease, for nobody can tell whether anything was sent."""
    with contextlib.suppress(ZeroDivisionError), lease(aliases(TransactionalLine)) as db:
        db.say(str(1 / (not fails)))

    assert db.said[-1:] == [end]


def test_limit_that_leaves_a_task_costs_the_client(aliases: Callable[..., Any]) -> None:
    """Nobody knows whether it struck in the middle of a reply: the client is closed, the next lease opens one."""
    handle = aliases(TransactionalLine)
    with task_system(Limit), pytest.raises(Limit), lease(handle) as db:
        raise Limit

    assert db.said == ["close"]
    with lease(handle) as new:
        assert new is not db


def test_close_option_wins_over_the_method(aliases: Callable[..., Any]) -> None:
    """`close=` is called with the client instead of its own `close()`."""

    def goodbye(client: Line) -> None:
        client.say("goodbye")
        client.socket.close()

    handle = aliases(close=goodbye, max_age=0)
    with lease(handle) as db:
        pass
    with lease(handle):
        pass

    assert db.said == ["goodbye"]


def test_socket_is_found(listener: socket.socket) -> None:
    """The socket that was connected during the call, and no other of the process, is the client's."""
    driver = Callables()
    with socket.create_connection(listener.getsockname()):
        target = target_of("line://x", options=_options(connect=lambda _: Line(port=listener.getsockname()[1])))
        client = driver.open(target, 5)

        assert list(driver.sockets(client)) == [client.opened.socket.fileno()]
        driver.close(client, 1)
        assert list(driver.sockets(client)) == []


def test_later_socket_to_the_same_server_is_found(listener: socket.socket) -> None:
    """A pooled client connects when it is used: what leads to its server and is younger than it is counts as its."""
    driver, place = Callables(), listener.getsockname()
    with socket.create_connection(place):
        client = driver.open(target_of("line://x", options=_options(connect=lambda _: Line(port=place[1]))), 5)
        with socket.create_connection(place) as later:
            assert set(driver.sockets(client)) == {client.opened.socket.fileno(), later.fileno()}
    driver.close(client, 1)


def test_finders_of_two_threads_do_not_mix(listener: socket.socket) -> None:
    """Two clients opened at a time keep their sockets apart."""
    driver, place = Callables(), listener.getsockname()

    def slow(_: str) -> Line:
        time.sleep(0.05)
        return Line(port=place[1])

    clients: list[Any] = []
    target = target_of("line://x", options=_options(connect=slow))
    threads = [threading.Thread(target=lambda: clients.append(driver.open(target, 5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [client.known() for client in clients] == [[client.opened.socket.fileno()] for client in clients]
    for client in clients:
        driver.close(client, 1)


def test_gone_server_shows_at_a_glance(listener: socket.socket) -> None:
    """A client all of whose sockets are dead is dead; unread bytes mean nothing for one that may have readers."""
    driver = Callables()
    options = _options(connect=lambda _: Line(port=listener.getsockname()[1]))
    client = driver.open(target_of("line://x", options=options), 5)
    server, _ = listener.accept()

    server.sendall(b"news\n")
    time.sleep(0.05)
    assert driver.peek(client) is Peek.QUIET
    server.close()
    time.sleep(0.05)
    assert driver.peek(client) is Peek.DEAD
    driver.invalidate(client)


def test_check_that_hangs_is_given_up_in_time(listener: socket.socket) -> None:
    """The sockets are shut when the time is up, which ends whatever waits for them."""
    driver = Callables()
    options = _options(connect=lambda _: Line(port=listener.getsockname()[1]))
    client = driver.open(target_of("line://x", options=options), 5)
    client.check = lambda line: bool(line.socket.recv(1))

    started = time.monotonic()
    assert not driver.is_alive(client, 0.2)
    assert time.monotonic() - started < 1.2
    driver.invalidate(client)


# -- a real client, a real server ------------------------------------------------------------------------


def _options(**values: Any) -> Any:
    from taskconn.options import Options

    return Options(**values)


def _connect(port: int, **arguments: Any) -> Any:
    return pymysql.connect(port=port, **arguments)


@pytest.fixture
def pymysql_alias(mysql_database: MySQLDatabase) -> Iterator[Callable[..., Any]]:
    """Give a function that makes a handle of a plain PyMySQL connection, with options."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    server = mysql_database.server
    registry = Registry()
    place = {"host": server.host, "user": server.user, "password": server.password, "database": mysql_database.name}

    def make(port: int | None = None, **options: Any) -> Any:
        return registry.add(
            "cars", {"connect": _connect, "connect_args": {**place, "port": port or server.port}, **options}
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


def test_commit_without_an_answer_has_an_unknown_outcome(
    pymysql_alias: Callable[..., Any], mysql_database: MySQLDatabase, wire: Callable[..., Wire]
) -> None:
    """The time is up between COMMIT and its answer: what the server made of it is unknown, and said to be."""
    cut = wire(mysql_database.server)
    with pytest.raises(CommitOutcomeUnknownError), lease(pymysql_alias(cut.port, settle_timeout=0.3)) as db:
        db.cursor().execute("INSERT INTO car VALUES ('Volvo')")
        cut.hold_answers()
    cut.release_answers()

    assert mysql_database.query("SELECT name FROM car") == [("Volvo",)]


def test_limits_in_a_plain_connection_leave_no_wrong_answer(
    pymysql_alias: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 80 real signals that left a task, each next answer is right: the stock client would be off by one."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # one may strike in a destructor
    handle = pymysql_alias()

    def strike(*_: object) -> None:
        raise Limit

    seen: list[type[Exception]] = []
    before = signal.signal(signal.SIGALRM, strike)
    try:
        with task_system(Limit):
            for number in range(80):
                with pytest.raises((Limit, Unheard)) as caught, lease(handle) as db:
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

    assert seen.count(Limit) >= 50


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


def test_fork_leaves_no_socket_of_the_clients_to_a_child(aliases: Callable[..., Any]) -> None:
    """In the child the found sockets are dead ones, also those that were opened after the client."""
    handle = aliases()
    with lease(handle) as db:
        place = db.socket.getpeername()
        later = socket.create_connection(place)
        child = os.fork()
        if child == 0:
            dead = 0
            for end in (db.socket, later):
                try:
                    end.send(b"x")
                except OSError:
                    dead += 1
            os._exit(0 if dead == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert later.send(b"x") == 1
        later.close()
