"""A trace of calls, for clients in C: after whatever took long, new sockets are looked for, and who waited noted."""

from __future__ import annotations

import sys
import threading
from time import perf_counter
from types import FrameType
from typing import Any

from .._descriptors import process_sockets
from .._process import Socket
from . import _origins
from ._stacks import take

__all__ = ["allow", "end"]

#: No client has looked up its server, connected and logged in within so many seconds: nothing shorter is looked at.
_GAP_S = 50e-6


class _State:
    """
    Say what is going on.

    Attributes:
        is_allowed: Calls may be traced once a client in C is loaded.
        is_on: They are traced.
        seen: Sockets that were there before, or have been noted.
    """

    is_allowed = False
    is_on = False
    seen: frozenset[Socket] = frozenset()


def allow() -> None:
    """Trace calls from the moment when a client in C is loaded, in this thread and in those that start later."""
    if not _State.is_allowed:
        _State.is_allowed = True
        _origins.on_client_in_c(_begin)


def end() -> None:
    """Trace no more."""
    if not _State.is_allowed:
        return
    _State.is_allowed = False
    _origins.on_client_in_c(None)
    if _State.is_on:
        _State.is_on = False
        if isinstance(sys.getprofile(), _Tracer):
            sys.setprofile(None)
        threading.setprofile(None)


def _begin() -> None:
    if _State.is_on or sys.getprofile() is not None:  # somebody measures: leave that alone
        return
    _State.is_on = True
    _State.seen = frozenset(process_sockets())
    threading.setprofile(_begin_in_thread)
    sys.setprofile(_Tracer())


def _begin_in_thread(*_: object) -> None:
    sys.setprofile(_Tracer())


class _Tracer:
    """
    Look for new sockets when more time than `_GAP_S` has passed between two events of one thread.

    Clients in C connect within one call, or wait in several. That takes as long as a round trip at least, and
    afterwards the calls that led to it are still on the stack. Between other events only the clock is read. A thread
    that has only waited meanwhile sees the same socket: where there are several, it is not certain who has opened it.
    """

    def __init__(self) -> None:
        self._last = perf_counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        now = perf_counter()
        if now - self._last > _GAP_S:
            _look(frame)
            now = perf_counter()
        self._last = now


def _look(frame: FrameType) -> None:
    if not _State.is_on:
        sys.setprofile(None)
        return
    found = frozenset(process_sockets())
    new = found - _State.seen
    _State.seen = found
    if new:
        stack = take(frame)
        is_certain = len(sys._current_frames()) == 1  # noqa: SLF001 -- documented, in spite of its name
        for entry in new:
            _origins.note(entry, stack, is_certain=is_certain)
