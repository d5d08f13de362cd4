"""What bounds a lease by its task's remaining time, and when nothing does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import taskconn
from taskconn import _context, _deadlines, _process
from taskconn._context import TaskContext
from taskconn._registry import Handle, Registry
from taskconn._watchdog import _watchdog, arm, disarm
from taskconn.testing import FakeConnection, FakeDriver


class ServerWithSetting(FakeDriver):
    """
    A fake PostgreSQL with a time limit for statements, which can end one.

    Attributes:
        ended: Set when a statement was ended.
    """

    dialect = "postgresql"

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.refuses = False

    def ask(self, connection: FakeConnection, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        if self.refuses:
            connection.fails_on.add(statement)
        connection._send(statement)
        return [("statement_timeout", "0")] if statement.startswith("SELECT") else []

    def cancel(self, connection: FakeConnection, timeout_s: float) -> bool:
        self.ended.set()
        return True


@pytest.fixture
def driver() -> ServerWithSetting:
    """Give the fake server."""
    return ServerWithSetting()


@pytest.fixture
def handle(driver: ServerWithSetting) -> Handle[FakeConnection]:
    """Give an alias that asks for deadlines."""
    return Registry().add("default", driver, deadline=True)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float | None], None]]:
    """Give a function that begins a task with so many seconds left; None is no limit."""
    running: list[TaskContext] = []
    monkeypatch.setattr(_context, "_sources", [lambda: running[-1] if running else None])

    def begin(left_s: float | None) -> None:
        deadline = None if left_s is None else time.monotonic() + left_s
        running.append(TaskContext(key=object(), system="test", task_id="1", name="shop.pay", deadline=deadline))

    return begin  # type: ignore[return-value]  # a fixture


def settings_of(connection: FakeConnection) -> list[str]:
    """List what the server was told."""
    return [words for words in connection.calls if "statement_timeout" in words and not words.startswith("SELECT")]


def test_setting_is_the_remaining_time_and_a_bit(handle: Any, driver: ServerWithSetting, task: Any) -> None:
    """The server is told at the start of the lease, once the transaction is settled that it is over."""
    task(20)
    with taskconn.lease(handle) as db:
        db.execute("INSERT")

    told, over = settings_of(db)
    assert 19_000 < int(told.removeprefix("SET SESSION statement_timeout = ")) <= 20_100
    assert over == "SET SESSION statement_timeout = 0"
    assert db.calls.index("commit") < db.calls.index(over)


def test_server_is_asked_once_per_connection(handle: Any, driver: ServerWithSetting, task: Any) -> None:
    """What the setting was before is asked for at the first lease with a deadline."""
    for _ in range(3):
        task(20)
        with taskconn.lease(handle) as db:
            db.execute("INSERT")

    assert [words for words in db.calls if words.startswith("SELECT")] == [db.calls[0]]
    assert driver.opened == [db]


@pytest.mark.parametrize("left_s", [None, -1.0], ids=["no limit", "limit passed"])
def test_task_without_time_to_keep_costs_nothing(
    handle: Any, driver: ServerWithSetting, task: Any, left_s: float | None
) -> None:
    """A task without a limit is not bounded; one past its limit has been told, and cleans up in its own time."""
    task(left_s)
    with taskconn.lease(handle) as db:
        pass

    assert db.calls == []


def test_refused_setting_leaves_the_thread(
    handle: Any, driver: ServerWithSetting, task: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that takes no such setting is said to, and the lease goes on: a thread keeps the time."""
    driver.refuses = True
    task(0.05)

    with taskconn.lease(handle) as db:
        db.execute("INSERT")
        assert driver.ended.wait(30)

    assert "the server took no deadline" in caplog.text
    assert db.committed == ["INSERT"]


def test_statement_that_outlives_its_task_is_ended(handle: Any, driver: ServerWithSetting, task: Any) -> None:
    """What was sent before the deadline is ended a bit after it, and the connection is never used again."""
    task(0.05)
    with taskconn.lease(handle) as db:
        db.execute("INSERT")
        assert driver.ended.wait(30)
    task(None)
    with taskconn.lease(handle) as after:
        pass

    assert after is not db
    assert db.calls[-1] == "close"


@pytest.mark.parametrize(("further", "is_ended"), [(1, True), (2, False)], ids=["deaf", "cleaning up"])
def test_statement_of_the_same_moment_has_a_second(
    handle: Any, driver: ServerWithSetting, task: Any, monkeypatch: pytest.MonkeyPatch, further: int, is_ended: bool
) -> None:
    """What began as the deadline passed may not have heard it; if another one follows, the task has, and cleans up."""
    left, noted = [further], _deadlines.Watch.pass_

    def pass_(watch: Any) -> None:
        noted(watch)
        if not watch.is_over and left[0]:
            left[0] -= 1
            db.execute("UPDATE")

    monkeypatch.setattr(_deadlines.Watch, "pass_", pass_)
    task(0.05)
    with taskconn.lease(handle) as db:
        db.execute("INSERT")
        watch = next(pooled.limits.watch for pooled in handle.registry.pool("default").members())
        deadline = time.monotonic() + 30
        while not watch.is_over:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if watch.canceller is not None:
            watch.canceller.done.wait(30)

    assert driver.ended.is_set() is is_ended


def test_lease_that_has_ended_is_ended_no_more(handle: Any, driver: ServerWithSetting, task: Any) -> None:
    """Nothing is armed after the lease, so that no cancel can hit the next one's statement."""
    task(20)
    with taskconn.lease(handle) as db:
        db.execute("INSERT")
        assert len(_watchdog.armed) == 1

    assert _watchdog.armed == {}


class Bell:
    """Ring at a time."""

    def __init__(self, in_s: float) -> None:
        self.at = time.monotonic() + in_s
        self.rang = threading.Event()

    def pass_(self) -> None:
        self.rang.set()


_TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not _TASKS.is_dir(), reason="only Linux lists threads there")
def test_thread_is_joined_before_a_fork_and_goes_on_after_it() -> None:
    """A fork finds no thread in the middle of something; what is armed rings in the parent, and never in the child."""
    bell = Bell(60)
    arm(bell)
    before = len(list(_TASKS.iterdir()))
    seen: list[int] = []

    class Last:
        """Look, after all others have got ready."""

        sockets = staticmethod(list)

        def before_fork(self) -> None:
            deadline = time.monotonic() + 5  # the system takes a moment to forget a thread that has returned
            while len(list(_TASKS.iterdir())) == before and time.monotonic() < deadline:
                time.sleep(0.001)
            seen.append(len(list(_TASKS.iterdir())))
            bell.at = time.monotonic()

        def after_fork_in_child(self, parent: object) -> None:
            """Nothing."""

    last = Last()
    _process.watch(last)
    child = os.fork()
    if not child:
        os._exit(bell.rang.wait(1))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert seen == [before - 1]
    assert bell.rang.wait(30)
    assert disarm(bell) is False


def test_client_without_a_driver_has_its_sockets_shut(task: Any) -> None:
    """Nobody knows how to end what such a client runs, so what it waits for ends: as if the server had gone."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"connect": lambda: socket.create_connection(silent.getsockname()), "deadline": True}
        registry = Registry()
        handle = registry.add("default", options)
        with taskconn.lease(handle):
            pass  # what takes long the first time does not count as the task's
        task(1)
        began = time.monotonic()
        with taskconn.lease(handle) as client:
            client.settimeout(60)
            assert client.recv(1) == b""
        registry.close()

    assert 1 <= time.monotonic() - began < 30
