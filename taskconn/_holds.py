"""What belongs to a runner (thread, greenlet, asyncio task) and ends with it: the connections that proxies keep."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any, Generic, TypeVar

from . import _process
from ._cancel import end_statement
from ._pooled import Pooled

T = TypeVar("T")


class PerRunner(Generic[T]):
    """Keep one value for each runner, until the runner ends. A value must not hold its runner."""

    def __init__(self) -> None:
        self._by_runner: weakref.WeakKeyDictionary[Any, T] = weakref.WeakKeyDictionary()

    def get(self, runner: object) -> T | None:
        """Give the value of *runner*, which is the one that calls."""
        return self._by_runner.get(runner)

    def set(self, runner: object, value: T) -> None:
        """Keep *value* for *runner*, which is the one that calls."""
        self._by_runner[runner] = value


def keep_for_proxies(pool: Any) -> PerRunner[Hold]:
    """Give what proxies keep of *pool*: the same to all threads, though several ask for the first time at once."""
    kept: PerRunner[Hold] = vars(pool).setdefault("_kept_first", PerRunner())  # in one step
    pool.holds = kept
    return kept


class Hold:
    """Keep one connection for one runner's proxy. It goes back to the pool when the runner ends."""

    __slots__ = ("__weakref__", "_pool", "pooled")

    def __init__(self, pool: Any, pooled: Pooled[Any], runner: object) -> None:
        self._pool = pool
        self.pooled = pooled
        pooled.held_by = weakref.ref(runner)
        pooled.is_lent = False

    @property
    def is_lent(self) -> bool:
        """Does a lease of the same runner use it at the moment?"""
        return self.pooled.is_lent

    @is_lent.setter
    def is_lent(self, is_lent: bool) -> None:
        self.pooled.is_lent = is_lent

    @property
    def is_usable(self) -> bool:
        """Does it hold a connection that this process opened and that has not gone?"""
        return not self.pooled.is_gone and self.pooled.owner is _process.owner()

    @property
    def is_settled(self) -> bool:
        """Is nothing left to commit or roll back?"""
        pooled, driver = self.pooled, self._pool.driver
        if not driver.transactional or driver.is_settled(pooled.connection):
            return True
        return driver.counts_statements and not pooled.session.sent

    def release(self) -> None:
        """Give the connection back; one with an open transaction is dropped, and the server rolls back."""
        pooled = self.pooled
        if not self.is_usable:
            return
        pooled.held_by = None
        if pooled.is_lent:  # the lease gives it back when it ends
            return
        session = pooled.session
        if self._pool.options.reset and (session.sent or session.settled_by_hand):
            self._pool.invalidate(pooled)  # resetting takes a round trip, and this may run in a destructor
        elif self.is_settled and not session.pending and not session.interrupt:
            self._pool.give_back(pooled)
        else:
            self._pool.invalidate(pooled)
            end_statement(self._pool, pooled, wait_s=0)

    def __del__(self) -> None:
        # Anything may be half gone at the interpreter's end; the system closes the socket then.
        with contextlib.suppress(Exception):
            self.release()
