"""What ends a lease ends it whatever interrupts: at every bytecode, in stacks, under `with_db`."""

from __future__ import annotations

import contextlib
import dis
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType
from typing import Any

import pytest

import taskconn
from taskconn import _ending, _injection, with_db
from taskconn._lease import Lease
from taskconn.testing import FakeConnection, FakeDriver
from tests.support.core import Fake, fake, task, task_system

pytestmark = [
    pytest.mark.portable,
    pytest.mark.skipif(sys.implementation.name != "cpython", reason="strikes by CPython's tracing"),
]

#: More bytecodes than the longest of what is struck here has.
_ENDLESS = 1000

#: Where CPython hears no signal, and a function that raises could not clean up.
_DEAF = ("RETURN_VALUE", "RETURN_CONST")

#: What ends a block, and what begins it.
_CODES = {
    "exit": _ending._end.__code__,
    "succeed": Lease.succeed.__code__,
    "fail": Lease.fail.__code__,
    "enter": Lease.__enter__.__code__,
}


class Struck(BaseException):
    """Strikes where it was told to."""


@contextmanager
def strike(code: CodeType, at: int) -> Iterator[None]:
    """Raise `Struck` in front of one bytecode of a function: 0 is its entry, as a signal's handler would raise."""
    left = at

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        is_heard = event == "call" or (event == "opcode" and dis.opname[code.co_code[frame.f_lasti]] not in _DEAF)
        if is_heard:
            left -= 1
            if left == -1:
                raise Struck
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)


def returns(shop: Fake, at: int, code: CodeType) -> None:
    """Strike a block that returns."""
    with strike(code, at), shop.lease() as db:
        db.execute("INSERT struck")


def raises(shop: Fake, at: int, code: CodeType) -> None:
    """Strike a block that raises."""
    with contextlib.suppress(ZeroDivisionError), strike(code, at), shop.lease() as db:
        db.execute("INSERT struck")
        _ = 1 / 0


@pytest.mark.parametrize("block", [returns, raises])
@pytest.mark.parametrize("function", _CODES)
def test_interrupt_at_any_bytecode_leaves_no_lease_open(
    function: str, block: Callable[[Fake, int, CodeType], None]
) -> None:
    """A task that keeps a limit's exception, wherever it struck, loses none of what it writes afterwards."""
    kept: list[BaseException] = []
    for at in range(_ENDLESS):
        shop = fake()
        with contextlib.suppress(ZeroDivisionError):
            try:
                block(shop, at, _CODES[function])
            except Struck as struck:
                kept.append(struck)
                with shop.lease() as db:
                    db.execute("INSERT kept")
            else:
                break
        committed = [connection.committed for connection in shop.opened if connection.committed]
        assert committed[-1][-1:] == ["INSERT kept"], (at, committed)
        assert not [pooled for pooled in shop.pool.members() if pooled.holder], at
    else:
        pytest.fail("never ended")

    is_called = (function, block) not in (("succeed", raises), ("fail", returns))
    assert bool(kept) is is_called


def test_lost_lease_of_one_alias_holds_up_no_callback_of_another() -> None:
    """What waits for a commit is called although an interrupt has torn a lease of another alias out of its end."""
    shop, called = fake(), []
    cache = shop.beside("cache")

    try:
        with strike(_ending._end.__code__, 0), shop.lease() as db:
            db.execute("INSERT struck")
    except Struck as struck:
        kept = struck
        with cache.lease() as db:
            db.execute("INSERT kept")
            taskconn.after_commit(called.append, "kept")

    assert kept.__traceback__ is not None
    assert called == ["kept"]


def test_lost_lease_outside_of_a_nested_task_is_joined_by_none() -> None:
    """A lease that was torn out of its end is found although the runner has run a nested task meanwhile."""
    shop = fake()
    with task_system() as running, task(running):
        with shop.lease(), task(running), shop.lease():
            pass
        try:
            with strike(_ending._end.__code__, 0), shop.lease() as db:
                db.execute("INSERT struck")
        except Struck as struck:
            kept = struck
            with shop.lease() as db:
                db.execute("INSERT kept")

    assert kept.__traceback__ is not None
    assert db.committed == ["INSERT kept"]


def test_lease_in_a_stack_is_ended_by_it() -> None:
    """`contextlib.ExitStack`, which asks the class for what ends a block, ends a lease."""
    shop = fake()

    with ExitStack() as stack:
        stack.enter_context(shop.lease()).execute("INSERT")
    with pytest.raises(ZeroDivisionError, match="division"), ExitStack() as stack:
        stack.enter_context(shop.lease()).execute("INSERT lost")
        _ = 1 / 0

    assert [connection.committed for connection in shop.opened] == [["INSERT"]]


def test_looking_at_what_ends_a_lease_ends_nothing() -> None:
    """A debugger that looks at the attributes of an open lease leaves it as it is."""
    shop = fake()
    lease = shop.lease()

    with lease as db:
        assert callable(lease.__exit__)
        db.execute("INSERT")
        with shop.lease() as inner:
            assert inner is db

    assert db.committed == ["INSERT"]
    assert isinstance(shop.driver, FakeDriver)


def test_interrupt_as_a_failed_function_is_ended_leaves_no_lease_open() -> None:
    """A task that keeps the limit's exception, and with it the frames, loses none of what it writes afterwards."""
    shop = fake()

    @with_db(shop.handle)
    def fail(db: FakeConnection) -> None:
        db.execute("INSERT lost")
        raise ValueError("no")

    def strike(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code is _injection._end.__code__:
            raise KeyboardInterrupt

    previous = sys.gettrace()
    sys.settrace(strike)
    try:
        fail()
    except KeyboardInterrupt as interrupt:
        sys.settrace(previous)
        kept = interrupt
        with shop.lease() as db:
            db.execute("INSERT kept")
    finally:
        sys.settrace(previous)

    assert kept.__traceback__ is not None
    assert [connection.committed for connection in shop.opened if connection.committed] == [["INSERT kept"]]
