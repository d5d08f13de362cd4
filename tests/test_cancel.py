"""When an interrupted statement is ended at the server, by whom, and for how long an interrupt is held up."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import taskconn
from taskconn import _cancel
from taskconn._cancel import Canceller, _cancel_mysql
from taskconn._registry import Registry
from taskconn.driver import Driver
from taskconn.testing import FakeConnection, FakeDriver
from tests.support.stopwatch import Stopwatch


class Interrupt(BaseException):
    """End a task in the middle of its statement."""


class CancellingDriver(FakeDriver):
    """
    A fake server that can end a statement.

    Attributes:
        ended: Connections whose statement was ended.
        may_answer: The server answers once this is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[FakeConnection] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def cancel(self, connection: FakeConnection, timeout_s: float) -> bool:
        self.may_answer.wait(timeout_s)
        self.ended.append(connection)
        return True


@pytest.fixture
def driver() -> Iterator[CancellingDriver]:
    """Give a driver that can."""
    made = CancellingDriver()
    yield made
    made.may_answer.set()
    _cancel.wait_for_cancellers()


def interrupted(driver: CancellingDriver, **options: Any) -> FakeConnection:
    """Interrupt a statement in a lease; gives its connection."""
    registry = Registry()
    handle = registry.add("default", driver, **options)
    with pytest.raises(Interrupt, match="now"):
        interrupt_in(handle)
    return driver.opened[-1]


def interrupt_in(handle: Any) -> None:
    """Do that, and let the interrupt pass."""
    with taskconn.lease(handle) as db:
        db.execute("INSERT")
        db.taskconn_session.interrupt = "Interrupt"
        raise Interrupt("now")


def test_interrupted_statement_is_ended(driver: CancellingDriver) -> None:
    """The statement of the connection that was dropped is ended, and the interrupt passes."""
    connection = interrupted(driver)

    assert driver.ended == [connection]
    assert not connection.is_open


def test_cancel_false_leaves_it_to_the_server(driver: CancellingDriver) -> None:
    """Nobody ends it where the alias says `cancel=False`."""
    interrupted(driver, cancel=False)

    assert driver.ended == []


def test_exception_between_statements_ends_nothing(driver: CancellingDriver) -> None:
    """An interrupt that hit no statement has nothing to end."""
    handle = Registry().add("default", driver)
    with pytest.raises(Interrupt, match="later"), taskconn.lease(handle) as db:
        db.execute("INSERT")
        raise Interrupt("later")

    assert driver.ended == []


def test_ids_that_a_pooler_made_up_end_nothing(driver: CancellingDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a pooler the id of a session says nothing, so that it could be anybody's."""
    driver.dialect = "postgresql"
    monkeypatch.setattr(CancellingDriver, "identity", lambda *_: None)

    interrupted(driver)

    assert driver.ended == []


def test_slow_server_holds_the_interrupt_up_for_a_moment_only(driver: CancellingDriver) -> None:
    """A hard limit leaves 0.1 s: what takes longer goes on in its thread."""
    driver.may_answer.clear()

    watch = Stopwatch()
    connection = interrupted(driver)
    took_s = watch.seconds()

    assert driver.ended == []
    assert took_s < 2.5  # of the five seconds that the server would be given
    driver.may_answer.set()
    _cancel.wait_for_cancellers()
    assert driver.ended == [connection]


def test_failure_is_logged(
    driver: CancellingDriver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library raises is logged, with what it means, and never masks the interrupt."""

    def refuse(*_: object) -> bool:
        raise OSError("too many connections")

    monkeypatch.setattr(CancellingDriver, "cancel", refuse)
    with caplog.at_level(logging.WARNING, "taskconn"):
        interrupted(driver)
        _cancel.wait_for_cancellers()

    assert "could not be ended at the server, where it goes on: OSError: too many connections" in caplog.text


def test_child_ends_nothing_of_its_parents(driver: CancellingDriver) -> None:
    """A child that leaves an inherited lease by an interrupt leaves its parent's statement alone."""
    lease = taskconn.lease(Registry().add("default", driver))
    db = lease.__enter__()
    db.execute("INSERT")
    db.taskconn_session.interrupt = "Interrupt"

    child = os.fork()
    if not child:
        lease.fail(Interrupt("in the child"))
        os._exit(len(driver.ended))
    _, status = os.waitpid(child, 0)
    lease.fail(Interrupt("in the parent"))

    assert os.waitstatus_to_exitcode(status) == 0
    assert driver.ended == [db]


def test_fork_waits_for_a_statement_that_is_being_ended(driver: CancellingDriver) -> None:
    """No fork happens while a second session is open, for its socket would be inherited."""
    driver.may_answer.clear()
    connection = interrupted(driver)
    threading.Timer(0.2, driver.may_answer.set).start()

    child = os.fork()
    if not child:
        os._exit(len(driver.ended))
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 1
    assert driver.ended == [connection]


LEAVING = """
import sys, threading
import taskconn
from taskconn.testing import FakeDriver

class Slow(FakeDriver):
    def cancel(self, connection, timeout_s):
        is_leaving.wait(timeout_s)
        print("ended", flush=True)
        return True

is_leaving = threading.Event()
with taskconn.lease(taskconn.Registry().add("default", Slow())) as db:
    db.execute("INSERT")
    db.taskconn_session.interrupt = "Interrupt"
    threading.Timer(0.4, is_leaving.set).start()
    sys.exit()
"""


def test_process_that_ends_waits_for_a_statement_that_is_being_ended() -> None:
    """A program that imports no task system waits too, for a second at most."""
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr


class Server:
    """A MySQL server as far as it is asked: how long it is up, and whether it knows the session."""

    def __init__(self, uptime_s: int, *, knows: bool) -> None:
        self._answers = {"SHOW": [("Uptime", str(uptime_s))], "SELECT": [(1,)] if knows else [], "KILL": []}
        self.asked: list[str] = []

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        self.asked.append(statement)
        return self._answers[statement.split(maxsplit=1)[0]]


@pytest.mark.parametrize(
    ("uptime_s", "knows", "kills"),
    [(500, True, True), (3, True, False), (500, False, False)],
    ids=["ours", "younger server", "unknown session"],
)
def test_mysql_session_is_killed_only_if_it_is_ours(uptime_s: int, knows: bool, kills: bool) -> None:
    """A server that is younger than the session gives ids anew, and one that doesn't know its port is another's."""
    driver: Driver[Any] = FakeDriver()
    pool = Registry().add("default", driver).registry.pool("default")
    pooled = pool.acquire("test")
    pooled.identity, pooled.port, pooled.opened_at = "77", 4711, time.monotonic() - 60
    server = Server(uptime_s, knows=knows)

    canceller = Canceller("default", driver, pool.target, pool.options, pooled)

    assert _cancel_mysql(canceller, server.ask) is kills
    assert ("KILL QUERY 77" in server.asked) is kills
    assert all("4711" in words for words in server.asked if words.startswith("SELECT"))
