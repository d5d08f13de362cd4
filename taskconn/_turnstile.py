"""Who comes next: the idle connections of a pool, the runners that wait for one, and the room for new ones."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ._pooled import Pooled
from ._process import WeakMembers
from .telemetry import Counters

__all__ = ["Permit", "Turnstile", "concurrency", "set_concurrency"]

C = TypeVar("C")

#: How many tasks run at once in this process: `max_size` where the options leave it open. None is "no limit".
_concurrency: int | None = None


def set_concurrency(limit: int | None) -> None:
    """Say how many tasks run at once in this process (threads, gevent, eventlet); None where it is one."""
    global _concurrency  # noqa: PLW0603 -- one number for the process, told by its task system as it starts
    _concurrency = limit


def concurrency() -> int | None:
    """Tell what `set_concurrency` was told."""
    return _concurrency


class Permit:
    """Allow its holder to open one connection. It counts as long as it lives, so that an interrupt can't lose it."""

    __slots__ = ("__weakref__",)


class _Waiter(Generic[C]):
    """One runner that waits: it is handed a connection, or the permission to open one."""

    __slots__ = ("event", "served")

    def __init__(self) -> None:
        self.event = threading.Event()
        self.served: Pooled[C] | Permit | None = None


class Turnstile(Generic[C]):
    """
    Let at most so many connections be in use, first come first served.

    An idle connection is taken and given back without a lock: `deque.pop` and `deque.append` are atomic. A waiter
    enters the queue before it looks at the idle ones a last time, and a giver looks at the queue after it has
    given back, so one of the two sees the other.

    Attributes:
        idle: Connections that nobody uses; the pool pops from and appends to it directly.
        waiters: Those who wait; whoever appends to `idle`, or makes room, calls `serve` if there are any.
        lock: Guards `waiters` and the count of permits.
    """

    def __init__(self, size: Callable[[], int], limit: Callable[[], int | None]) -> None:
        self.idle: deque[Pooled[C]] = deque()
        self.waiters: deque[_Waiter[C]] = deque()
        self.lock = threading.Lock()
        self._permits: WeakMembers[Permit] = WeakMembers()
        self._size = size
        self._limit = limit

    def take(self, pooled: Pooled[C]) -> bool:
        """Take *pooled* from the idle ones; False if a lease was quicker."""
        with contextlib.suppress(ValueError):
            self.idle.remove(pooled)
            return True
        return False

    def enter(self, timeout_s: float, counters: Counters) -> Pooled[C] | Permit:
        """
        Wait for an idle connection, or for room to open one.

        Returns:
            The connection, or the permission to open one, to be followed by `opened`, come what may.

        Raises:
            TimeoutError: Neither came within *timeout_s*.
        """
        waiter = _Waiter[C]()
        try:
            with self.lock:
                if not self.waiters:
                    with contextlib.suppress(IndexError):
                        return self.idle.pop()
                    if self._has_room():
                        return self._permit()
                self.waiters.append(waiter)
                counters.waits += 1
            self.serve()  # one may have come back between the look and the queue
            waiter.event.wait(timeout_s)
            self._leave(waiter)
        except BaseException:  # an interrupt: what was handed over meanwhile goes to the next in the queue
            self._leave(waiter)
            self._pass_on(waiter)
            raise
        if waiter.served is None:
            raise TimeoutError
        return waiter.served

    def opened(self, permit: Permit) -> None:
        """Say that an open that was permitted has ended, well or not."""
        self._permits.remove(permit)
        self.serve()

    def serve(self) -> None:
        """
        Hand idle connections, and room for new ones, to those who wait.

        It never waits for the lock, because a destructor may call it while its own thread holds the lock. Whoever
        holds it calls `serve` after letting go, if he leaves anybody waiting.
        """
        while self.waiters and (self.idle or self._has_room()):
            if not self.lock.acquire(blocking=False):
                return
            try:
                self._serve_one()
            finally:
                self.lock.release()

    def _serve_one(self) -> None:
        if not self.waiters:
            return
        served: Pooled[C] | Permit
        try:
            served = self.idle.pop()
        except IndexError:
            if not self._has_room():
                return
            served = self._permit()
        waiter = self.waiters.popleft()
        waiter.served = served
        waiter.event.set()

    def _permit(self) -> Permit:
        permit = Permit()
        self._permits.add(permit)
        return permit

    def _has_room(self) -> bool:
        limit = self._limit()
        return limit is None or self._size() + len(self._permits) < limit

    def _leave(self, waiter: _Waiter[C]) -> None:
        with self.lock, contextlib.suppress(ValueError):  # it was served already
            self.waiters.remove(waiter)
        self.serve()

    def _pass_on(self, waiter: _Waiter[C]) -> None:
        served = waiter.served
        if isinstance(served, Permit):
            self.opened(served)
        elif served is not None:
            self.idle.append(served)
            self.serve()
