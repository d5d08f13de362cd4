"""What every driver claims: a server that is absent, silent or gone is noticed in time."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from taskconn.driver import Driver, Peek
from tests.drivers.contract.marks import on_unix, with_server
from tests.drivers.rows import target_of
from tests.support.stopwatch import Stopwatch
from tests.support.wire import Wire

pytestmark = on_unix


@with_server
def test_silent_server_is_no_session_in_time(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A question for the session's id without an answer is the library's error, after `timeout_s`."""
    connection, cut = watched
    cut.hold_answers()

    watch = Stopwatch()
    with pytest.raises(driver.errors):
        driver.ask_identity(connection, 0.3)
    assert watch.seconds() < 1.3


@with_server
def test_absent_server_is_the_librarys_error(driver: Driver[Any], url: str) -> None:
    """What can't be opened raises one of the driver's `errors`, at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    watch = Stopwatch()
    with pytest.raises(driver.errors):
        driver.open(target_of(url, port=port), 2)
    assert watch.seconds() < 1


@with_server
def test_silent_server_is_given_up_in_time(driver: Driver[Any], url: str) -> None:
    """A server that takes the connection and says nothing is waited for as long as `timeout_s` says, login included."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        watch = Stopwatch()
        with pytest.raises(driver.errors):
            driver.open(target_of(url, port=silent.getsockname()[1]), 0.3)

    assert watch.seconds() < 1.3


@with_server
def test_silent_server_is_not_alive_in_time(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A ping without an answer is False after `timeout_s`, although the socket is quiet."""
    connection, cut = watched
    cut.hold_answers()

    watch = Stopwatch()
    assert not driver.is_alive(connection, 0.3)
    assert watch.seconds() < 1.3


@with_server
def test_gone_server_shows_at_a_glance(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A peer that has closed is seen without a round trip, and closing our end then raises nothing."""
    connection, cut = watched

    cut.close()

    deadline = time.monotonic() + 5
    while driver.peek(connection) is Peek.QUIET and time.monotonic() < deadline:
        time.sleep(0.01)
    assert driver.peek(connection) is Peek.DEAD
    driver.close(connection, 1)
