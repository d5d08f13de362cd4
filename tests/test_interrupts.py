from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

import pytest

from taskconn._interrupts import errors_ignored, masked_interrupt, noting, strikes
from taskconn.driver import Target
from taskconn.errors import ConnectionFailedError
from taskconn.testing import FakeConnection, FakeDriver, FakeError
from tests.support.core import Fake, task_system

pytestmark = pytest.mark.portable


class Limit(Exception):  # noqa: N818 -- a limit, as task systems throw it
    """What may strike anywhere."""


def strike(words: str) -> NoReturn:
    """Raise as a signal's handler does."""
    raise Limit(words)


class MaskingDriver(FakeDriver):
    """A driver whose library turns whatever strikes it into an error of its own."""

    def open(self, target: Target, timeout_s: float) -> FakeConnection:
        try:
            strike("struck")
        except Limit:
            raise FakeError("can't connect") from None


def refuse() -> NoReturn:
    """Lease where no server is."""
    app = Fake()
    app.driver.is_refusing = True
    with app.lease():
        raise AssertionError


def test_interrupt_is_found_where_a_library_hides_it() -> None:
    """Also where it raises its own error `from None`, for Python keeps the context all the same."""
    with task_system(Limit):
        try:
            MaskingDriver().open(Target("default", "fake"), 1)
        except FakeError as error:
            found = masked_interrupt(error, None)

    assert isinstance(found, Limit)


def test_interrupt_that_was_handled_before_is_none_of_the_librarys() -> None:
    """A connection may be wanted while a limit is being handled: an error then is an error."""
    with task_system(Limit):
        try:
            strike("long ago")
        except Limit:
            handled = sys.exc_info()[1]
            try:
                refuse()
            except ConnectionFailedError as error:
                found = masked_interrupt(error, handled)

    assert found is None


def test_interrupt_while_a_connection_is_opened_reaches_the_task() -> None:
    """A limit that strikes during the login is the limit, not a server that can't be reached."""
    app = Fake(MaskingDriver())

    with task_system(Limit), pytest.raises(Limit, match="struck"):
        with app.lease():
            pass

    assert app.stats()["leased"] == 0


def test_error_while_a_limit_is_handled_is_an_error() -> None:
    """A task that catches its limit, and then finds no server, is told that."""
    with task_system(Limit), pytest.raises(ConnectionFailedError, match="server is up"):
        try:
            strike("long ago")
        except Limit:
            refuse()


def raise_limit(*_: object) -> None:
    """Handle a signal as task systems do."""
    raise Limit("struck")


def swallow(handler: Callable[[int, object], object]) -> None:
    """Be a library that catches whatever strikes it."""
    with contextlib.suppress(Exception):
        handler(0, None)


def test_interrupt_that_a_library_swallows_is_noted() -> None:
    """What a noting handler has raised is known afterwards, though no exception tells of it."""
    mark = strikes.count

    swallow(noting(raise_limit))

    found = strikes.since(mark)
    assert isinstance(found, Limit)
    assert found.args == ("struck",)
    assert found.__traceback__ is None  # no frames are kept alive
    assert strikes.since(strikes.count) is None


def test_interrupt_of_another_thread_is_none_of_this_ones() -> None:
    """A thread that waits for its answer is not told what has struck the main thread."""
    mark = strikes.count

    thread = threading.Thread(target=swallow, args=(noting(raise_limit),))
    thread.start()
    thread.join()

    assert strikes.count == mark + 1
    assert strikes.since(mark) is None


def test_handler_is_wrapped_once() -> None:
    """A worker asks for it before each task."""
    handler = noting(raise_limit)

    assert noting(handler) is handler


def test_interrupt_that_the_login_swallows_reaches_the_task() -> None:
    """A limit that strikes while a library catches everything is the limit all the same; nothing is left open."""

    class SwallowingDriver(FakeDriver):
        def open(self, target: Target, timeout_s: float) -> FakeConnection:
            swallow(noting(raise_limit))
            return super().open(target, timeout_s)

    app = Fake(SwallowingDriver())

    with task_system(Limit), pytest.raises(Limit, match="struck"):
        with app.lease():
            pass

    assert app.stats()["leased"] == 0


def test_errors_are_ignored_and_interrupts_are_not() -> None:
    """What a driver may not raise it ignores, but no limit."""
    with errors_ignored():
        raise ValueError
    with task_system(Limit), pytest.raises(Limit, match="struck"), errors_ignored():
        strike("struck")
