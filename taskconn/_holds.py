"""What belongs to a runner (thread, greenlet, asyncio task) and ends with it: the connections that proxies keep."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from . import _process
from ._cancel import end_statement
from ._pooled import Pooled
from ._process import current_runner

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


def inherit(pool: Any, formers: Iterable[Any]) -> None:
    """Have *pool*'s proxies and leases know of what proxies have begun with *formers*, its alias's pools until now."""
    pool.former += [one for former in formers for one in (former, *former.former) if one.holds and one.members()]
    if pool.former:
        keep_for_proxies(pool)  # leases look there then


def unsettled_before(pool: Any, runner: object) -> Hold | None:
    """
    Give what *runner*'s proxy has begun and not settled before the alias of *pool* got other settings; None if nothing.

    A transaction is one connection's: its second half over another one would be committed without the first. What is
    settled goes back.
    """
    for former in list(pool.former):
        hold = None if former.holds is None else former.holds.get(runner)
        if hold is not None and hold.is_usable and not hold.is_lent:
            if not hold.is_settled:
                found: Hold = hold
                return found
            hold.release()
        if not former.members():
            with contextlib.suppress(ValueError):  # another thread was quicker
                pool.former.remove(former)
    return None


class Hold:
    """Keep one connection of a pool for one runner's proxy. It goes back to the pool when the runner ends."""

    __slots__ = ("__weakref__", "_is_over", "pool", "pooled")

    def __init__(self, pool: Any, pooled: Pooled[Any], runner: object) -> None:
        self.pool = pool
        self.pooled = pooled
        self._is_over = False
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
        return not self._is_over and not self.pooled.is_gone and self.pooled.owner is _process.owner()

    @property
    def is_settled(self) -> bool:
        """Is nothing left to commit or roll back?"""
        pooled, driver = self.pooled, self.pool.driver
        if not driver.transactional or driver.is_settled(pooled.connection):
            return True
        return driver.counts_statements and not pooled.session.sent

    def release(self) -> None:
        """Give the connection back; one with an open transaction is dropped, and the server rolls back."""
        pooled = self.pooled
        if not self.is_usable:
            return
        self._is_over = True
        pooled.held_by = None
        if pooled.is_lent:  # the lease gives it back when it ends
            return
        session = pooled.session
        if self.pool.options.reset and (session.sent or session.settled_by_hand):
            self.pool.invalidate(pooled)  # resetting takes a round trip, and this may run in a destructor
        elif self.is_settled and not session.pending and not session.interrupt:
            self.pool.give_back(pooled)
        else:
            self.pool.invalidate(pooled)
            end_statement(self.pool, pooled, wait_s=0)

    def __del__(self, _is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the interpreter's end anything may be half gone, and what a daemon thread uses is locked for ever: to close
        # it would be a fatal error. The system closes the socket then.
        with contextlib.suppress(Exception):
            if not _is_finalizing() and not self._is_in_use():
                self.release()

    def _is_in_use(self) -> bool:
        """May the runner be using it at this moment? Then what is collected is the pool, of settings that have gone."""
        runner = None if self.pooled.held_by is None else self.pooled.held_by()
        return runner is not None and (self.pool.is_retired or runner is not current_runner())
