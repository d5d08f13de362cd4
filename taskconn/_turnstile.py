"""Who comes next: the idle connections of a pool, the runners that wait for one, and the room for new ones."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ._pooled import Pooled

C = TypeVar("C")


class _Waiter(Generic[C]):
    """One runner that waits: it is handed a connection, or the permission to open one."""

    __slots__ = ("event", "may_open", "pooled")

    def __init__(self) -> None:
        self.event = threading.Event()
        self.pooled: Pooled[C] | None = None
        self.may_open = False


class Turnstile(Generic[C]):
    """
    Let at most so many connections be in use, first come first served.

    An idle connection is taken and given back without a lock: `deque.pop` and `deque.append` are atomic. A waiter
    enters the queue before it looks at the idle ones a last time, and a giver looks at the queue after it has
    given back, so one of the two sees the other.

    Attributes:
        idle: Connections that nobody uses; the pool pops from and appends to it directly.
        waiters: Those who wait; whoever appends to `idle` calls `serve` if there are any.
        lock: Guards `waiters`, and what the pool counts.
    """

    def __init__(self, size: Callable[[], int], limit: Callable[[], int | None]) -> None:
        self.idle: deque[Pooled[C]] = deque()
        self.waiters: deque[_Waiter[C]] = deque()
        self.lock = threading.Lock()
        self._opening = 0
        self._size = size
        self._limit = limit

    def enter(self, timeout_s: float, on_wait: Callable[[], None]) -> Pooled[C] | None:
        """
        Wait for an idle connection, or for room to open one.

        Returns:
            The connection; None is the permission to open one, to be followed by `opened`, come what may.

        Raises:
            TimeoutError: Neither came within *timeout_s*.
        """
        with self.lock:
            if not self.waiters:
                with contextlib.suppress(IndexError):
                    return self.idle.pop()
                if self._has_room():
                    self._opening += 1
                    return None
            waiter = _Waiter[C]()
            self.waiters.append(waiter)
            on_wait()
        try:
            self.serve()  # one may have come back between the look and the queue
            waiter.event.wait(timeout_s)
        except BaseException:  # an interrupt: what was handed over meanwhile goes to the next in the queue
            self._leave(waiter)
            self._pass_on(waiter)
            raise
        self._leave(waiter)
        if waiter.pooled is None and not waiter.may_open:
            raise TimeoutError
        return waiter.pooled

    def opened(self) -> None:
        """Say that an open that was permitted has ended, well or not."""
        with self.lock:
            self._opening -= 1
        self.serve()

    def serve(self) -> None:
        """Hand idle connections, and room for new ones, to those who wait."""
        if not self.waiters:
            return
        with self.lock:
            while self.waiters:
                waiter = self.waiters[0]
                try:
                    waiter.pooled = self.idle.pop()
                except IndexError:
                    if not self._has_room():
                        return
                    self._opening += 1
                    waiter.may_open = True
                self.waiters.popleft()
                waiter.event.set()

    def _has_room(self) -> bool:
        limit = self._limit()
        return limit is None or self._size() + self._opening < limit

    def _leave(self, waiter: _Waiter[C]) -> None:
        with self.lock, contextlib.suppress(ValueError):  # it was served already
            self.waiters.remove(waiter)

    def _pass_on(self, waiter: _Waiter[C]) -> None:
        if waiter.pooled is not None:
            self.idle.append(waiter.pooled)
            self.serve()
        elif waiter.may_open:
            self.opened()
