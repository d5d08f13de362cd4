"""
Which exceptions may strike anywhere: limits, signals, kills. Task systems add theirs, drivers must not hide them.

Client libraries do hide them: they catch `Exception` around their work, and a soft time limit is no more than that.
What they turn into an error of their own is found behind it (`masked_interrupt`). What they swallow leaves no trace;
therefore task systems have their signal handlers note what they raise (`noting`), and a driver compares the number of
strikes before and after each call into the library (`strikes`, `heard`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` wraps it in slow enums
import copy
import functools
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

__all__ = [
    "add_interrupts",
    "errors_ignored",
    "heard",
    "is_interrupt",
    "is_limit",
    "masked_interrupt",
    "note_signals",
    "noting",
    "strikes",
]

T = TypeVar("T")
_kinds: tuple[type[BaseException], ...] = ()


def add_interrupts(kinds: tuple[type[BaseException], ...]) -> None:
    """Add ordinary exceptions (subclasses of `Exception`) that a limit throws into the middle of a task."""
    global _kinds  # noqa: PLW0603 -- one tuple for the process: every settlement asks it
    _kinds += kinds


def is_interrupt(exception: BaseException) -> bool:
    """Tell whether *exception* may have struck anywhere, a driver's call included: a limit, a signal, a kill."""
    return not isinstance(exception, Exception) or isinstance(exception, _kinds)


def is_limit(exception: BaseException) -> bool:
    """Tell whether a task system's limit threw *exception*; it means nothing once the task has done its work."""
    return isinstance(exception, _kinds)


class _Strikes:
    """
    Count what the handlers of signals have raised.

    Attributes:
        count: How many.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: tuple[int, BaseException] | None = None

    def note(self, interrupt: BaseException) -> None:
        """Count *interrupt*, about to be raised in this thread or greenlet. A copy is kept: it holds no frames."""
        try:
            kept = copy.copy(interrupt)
        except Exception:  # noqa: BLE001 -- whatever a constructor of somebody's raises
            return
        self._last = threading.get_ident(), kept
        self.count += 1

    def since(self, mark: int) -> BaseException | None:
        """Give a copy of what has struck here since `count` was *mark*; None if nothing has."""
        if self.count == mark or self._last is None or self._last[0] != threading.get_ident():
            return None
        return copy.copy(self._last[1])


strikes = _Strikes()


def noting(handler: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
    """Wrap a handler of signals, so that a client library that swallows what it raises is found out."""
    if getattr(handler, "is_noting", False):
        return handler

    @functools.wraps(handler)
    def handle(number: int, frame: Any) -> Any:
        try:
            return handler(number, frame)
        except BaseException as interrupt:
            strikes.note(interrupt)
            raise

    handle.is_noting = True  # type: ignore[attr-defined]  # functions take attributes
    return handle


def note_signals(*names: str) -> None:
    """Have the handlers that these signals have now note what they raise. Only the main thread can, and hears them."""
    for name in names:
        number = getattr(_signal, name, None)
        handler = None if number is None else _signal.getsignal(number)
        if callable(handler) and not getattr(
            handler, "is_noting", False
        ):  # those that stand for no handler are numbers
            if threading.current_thread() is not threading.main_thread():
                return
            _signal.signal(number, noting(handler))


def masked_interrupt(
    error: BaseException, handled: BaseException | None, mark: int | None = None
) -> BaseException | None:
    """
    Find the interrupt that a client library has turned into *error*, an error of its own; None if there was none.

    Args:
        error: What came out of the library.
        handled: What was being handled before the library was called (``sys.exc_info()[1]``): none of its making.
        mark: `strikes.count` before the library was called, where it is known.
    """
    seen = error.__cause__ or error.__context__
    for _ in range(10):
        if seen is None or seen is handled:
            break
        if is_interrupt(seen) and not isinstance(seen, GeneratorExit):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None if mark is None else strikes.since(mark)


def heard(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call into a client library, and raise the interrupt that it has swallowed or turned into an error of its own."""
    mark, handled = strikes.count, sys.exc_info()[1]
    try:
        returned = call(*arguments, **named)
    except BaseException as error:
        hidden = None if is_interrupt(error) else masked_interrupt(error, handled, mark)
        if hidden is None:
            raise
        raise hidden  # noqa: B904 -- its own context shows what the library made of it
    if strikes.count != mark and (swallowed := strikes.since(mark)) is not None:
        raise swallowed
    return returned


class errors_ignored:  # noqa: N801 -- used as `contextlib.suppress` is
    """Suppress every error of the block, but no interrupt."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return exception is not None and not is_interrupt(exception)
