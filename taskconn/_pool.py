"""The connections of one alias in one process: idle and leased, their age, health and number. Settling is the lease's."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from . import _process
from ._holds import Hold, PerRunner
from ._pooled import FRESH_S, Pooled
from ._process import Owner, Socket, WeakMembers
from ._turnstile import Turnstile
from .driver import Driver, Peek, Target
from .errors import AcquireTimeoutError, ConnectionFailedError, InheritedFileError
from .options import Options
from .telemetry import Counters

__all__ = ["Pool", "concurrency", "set_concurrency"]

C = TypeVar("C")
log = logging.getLogger("taskconn")
_monotonic = time.monotonic

#: How many tasks run at once in this process: `max_size` where the options leave it open. None is "no limit".
_concurrency: int | None = None

#: SQLite files that an ancestor had in use when this process was forked: path -> that ancestor.
_poisoned: dict[str, Owner] = {}


def set_concurrency(limit: int | None) -> None:
    """Say how many tasks run at once in this process (threads, gevent, eventlet); None where it is one."""
    global _concurrency
    _concurrency = limit


def concurrency() -> int | None:
    """Tell what `set_concurrency` was told."""
    return _concurrency


def _defined(driver: Driver[Any], name: str) -> Callable[[Any], Any] | None:
    """Give the method of the driver, or None if it is the base class's, which does nothing."""
    return getattr(driver, name) if getattr(type(driver), name) is not getattr(Driver, name) else None


class Pool(Generic[C]):
    """
    Keep the connections of one alias that this process opened; see `Turnstile` for who gets the next one.
    """

    def __init__(self, alias: str, driver: Driver[C], target: Callable[[], Target], options: Options) -> None:
        self.alias = alias
        self.driver = driver
        self.options = options
        self.counters = Counters()
        self.is_retired = False
        self.target = target
        #: What proxies keep, by runner; None until the first proxy of the alias is used.
        self.holds: PerRunner[Hold] | None = None
        #: The lease that every lease joins, nested tasks included, while a test's sandbox is open.
        self.sandbox: Any = None
        self._unsettled_sent = 0 if driver.counts_statements else 1
        #: The driver's, where it defines them: most drivers do not, and a lease on them pays nothing.
        self.expose = _defined(driver, "expose")
        self.flush = _defined(driver, "flush")
        self._retract = _defined(driver, "retract")
        self._renew(_process.owner())
        self._inherited: list[Pooled[C]] = []
        self._unreported_discards = 0
        self._resource: str | None = None
        _process.watch(self)

    def _renew(self, owner: Owner) -> None:
        """Begin empty in the process that *owner* names; locks of before a fork may be held by nobody."""
        self._owner = owner
        self._members: WeakMembers[Pooled[C]] = WeakMembers()
        self._turnstile: Turnstile[C] = Turnstile(self._members.__len__, lambda: self.max_size)
        self._idle = self._turnstile.idle
        self._waiters = self._turnstile.waiters

    def __repr__(self) -> str:
        leased = len(self._members) - len(self._idle)
        return f"<Pool {self.alias!r} of process {self._owner.pid}: {len(self._idle)} idle, {leased} leased>"

    @property
    def max_size(self) -> int | None:
        """Most connections in this process; None is no limit."""
        return _concurrency if self.options.max_size is None else self.options.max_size

    # -- in and out ------------------------------------------------------------------------------------------

    def acquire(self, holder: object) -> Pooled[C]:
        """
        Take a connection that is alive and clean, for *holder* alone. The caller has seen to forks without hooks.

        Raises:
            ConnectionFailedError: None is idle, and none could be opened.
            AcquireTimeoutError: All `max_size` stayed in use for `acquire_timeout`.
            InheritedFileError: The parent had this SQLite file in use at the fork.
        """
        try:
            pooled = self._idle.pop()
        except IndexError:
            pooled = self._wait_or_open()
        now = _monotonic()
        if now >= pooled.fresh_until and not self.is_fit(pooled, now):
            pooled = self._replacement()
        pooled.taken_at = now
        pooled.holder = holder
        pooled.session.sent = self._unsettled_sent
        return pooled

    def refresh(self, pooled: Pooled[C]) -> bool:
        """Check a connection that the caller's proxy keeps, if it was unused for a while; False if it has gone."""
        now = _monotonic()
        if now >= pooled.fresh_until and not self.is_fit(pooled, now):
            return False
        pooled.used_at = now
        pooled.fresh_until = min(now + FRESH_S, pooled.expires_at)
        return True

    def retake(self, pooled: Pooled[C], holder: object) -> Pooled[C]:
        """Take the connection that the caller's proxy keeps, or another one if it is not fit any more."""
        if not self.refresh(pooled):
            return self.acquire(holder)
        pooled.taken_at = _monotonic()
        pooled.holder = holder
        pooled.session.sent = self._unsettled_sent
        return pooled

    def give_back(self, pooled: Pooled[C]) -> None:
        """Take back a connection that is settled and clean; one that a proxy keeps stays the proxy's."""
        pooled.holder = None
        if self._retract is not None:
            self._retract(pooled.connection)
        if self.is_retired:
            return self.close(pooled)
        pooled.used_at = now = _monotonic()
        fresh_until = now + FRESH_S
        pooled.fresh_until = fresh_until if fresh_until < pooled.expires_at else pooled.expires_at
        if pooled.held_by is not None:
            return
        self._idle.append(pooled)
        if self._waiters:
            self._turnstile.serve()

    def invalidate(self, pooled: Pooled[C], *, is_tainted: bool = False) -> None:
        """Drop a connection that may be broken: its socket is shut, the server rolls back."""
        self._remove(pooled)
        self.counters.invalidations += 1
        self.counters.taints += is_tainted
        log.debug("connection %r: invalidated in process %d", self.alias, self._owner.pid)
        self.driver.invalidate(pooled.connection)
        self._turnstile.serve()

    def close(self, pooled: Pooled[C]) -> None:
        """Say goodbye to a connection that is settled."""
        self._remove(pooled)
        self.counters.closes += 1
        log.debug("connection %r: closed in process %d", self.alias, self._owner.pid)
        self.driver.close(pooled.connection, self.options.close_timeout)
        self._turnstile.serve()

    # -- as a whole ------------------------------------------------------------------------------------------

    def warm(self) -> None:
        """Open one connection if there is none."""
        if not self._members:
            self.give_back(self.acquire("warm-up"))

    def recycle(self) -> None:
        """Replace every connection at its next safe moment: idle ones at their next use, leased ones after it."""
        for pooled in self._members.list():
            pooled.expires_at = pooled.fresh_until = 0.0

    def close_idle(self) -> None:
        """Say goodbye to every idle connection of this process."""
        while self._idle and _process.owner() is self._owner:
            with contextlib.suppress(IndexError):  # a lease was quicker
                self.close(self._idle.pop())

    def close_unleased(self) -> None:
        """Say goodbye to every connection of this process that no lease holds, those of proxies included."""
        self.close_idle()
        for pooled in self._members.list():
            if pooled.held_by is not None and pooled.owner is _process.owner():
                self.close(pooled)

    def retire(self) -> None:
        """Close what is idle now and the rest when it is given back: the alias has new settings."""
        self.is_retired = True
        self.close_idle()

    def members(self) -> list[Pooled[C]]:
        """List this process's connections, idle and leased."""
        return self._members.list()

    def stats(self) -> dict[str, int]:
        """Count what happened in this process; see `Counters`. ``open`` and ``leased`` are of this moment."""
        stats = self.counters.as_dict()
        members = self.members()
        for pooled in members:
            stats["leases"] += pooled.leases
            stats["commits"] += pooled.commits
            stats["rollbacks"] += pooled.rollbacks
        stats["open"] = len(members)
        stats["leased"] = sum(pooled.holder is not None for pooled in members)
        return stats

    # -- forks (`_process.ForkAware`) ------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Record where the sockets are now; close what no child can be kept from harming."""
        if self.driver.closes_before_fork:
            self.close_idle()
            for pooled in self._members.list():
                if pooled.held_by == _process.current_runner() and self.driver.is_settled(pooled.connection):
                    self.close(pooled)  # a proxy's, which opens anew when it is next used
        for pooled in self._members.list():
            pooled.record_sockets(self.driver)

    def sockets(self) -> list[Socket]:
        """List the sockets of all connections, as recorded."""
        return [socket for pooled in self._members.list() for socket in pooled.sockets]

    def after_fork_in_child(self, parent: Owner) -> None:
        """
        Discard everything that the parent opened.

        Leased ones are kept for ever as dead objects: collecting one whose parent's thread was in a query may block.
        """
        members = self._members.list()
        for pooled in members:
            with contextlib.suppress(Exception):
                self.driver.discard(pooled.connection)
        if members and self._resource is not None and self.driver.closes_before_fork:
            _poisoned[self._resource] = parent
        self._inherited += [pooled for pooled in members if pooled.holder is not None]
        self.counters = Counters()
        self.counters.discards = self._unreported_discards = len(members)
        self._renew(_process.owner())

    # -- private ---------------------------------------------------------------------------------------------

    def is_fit(self, pooled: Pooled[C], now: float) -> bool:
        """Check a connection that was idle for a while; one that is not fit is closed or dropped here."""
        options, idle_s = self.options, now - pooled.used_at
        if now >= pooled.expires_at or (options.max_idle is not None and idle_s > options.max_idle):
            self.counters.recycles += 1
            self.close(pooled)
            return False
        seen = self.driver.peek(pooled.connection)
        if seen is not Peek.QUIET:
            self.invalidate(pooled, is_tainted=seen is Peek.READABLE)
            return False
        if idle_s > options.health_check_interval:
            self.counters.health_checks += 1
            if not self.driver.is_alive(pooled.connection, options.connect_timeout):
                self.invalidate(pooled)
                return False
        return True

    def _replacement(self) -> Pooled[C]:
        """Take the first idle connection that is fit, else a new one."""
        while True:
            try:
                pooled = self._idle.pop()
            except IndexError:
                pooled = self._wait_or_open()
            if _monotonic() < pooled.fresh_until or self.is_fit(pooled, _monotonic()):
                return pooled

    def _wait_or_open(self) -> Pooled[C]:
        turnstile, started = self._turnstile, _monotonic()
        if self.max_size is None:
            return self._open()
        try:
            pooled = turnstile.enter(self.options.acquire_timeout, self._count_wait)
        except TimeoutError:
            now = _monotonic()
            holders = ", ".join(pooled.describe_holder(now) for pooled in self.members()) or "connections being opened"
            waited_ms = round((now - started) * 1000)
            raise AcquireTimeoutError(self.alias, waited_ms, self.max_size or 0, holders) from None
        if pooled is not None:
            return pooled
        try:
            return self._open()
        finally:
            turnstile.opened()

    def _count_wait(self) -> None:
        self.counters.waits += 1

    def _open(self) -> Pooled[C]:
        target, driver = self.target(), self.driver
        self._report_discards()
        self._resource = driver.resource(target)
        self._refuse_poisoned()
        owner, started = self._owner, _monotonic()
        try:
            connection = driver.open(target, self.options.connect_timeout)
        except driver.errors as error:
            self.counters.failed_opens += 1
            words = str(error) if not target.password else str(error).replace(target.password, "***")
            elapsed_ms = round((_monotonic() - started) * 1000)
            raise ConnectionFailedError(self.alias, target.address, 1, elapsed_ms, words) from error
        now = _monotonic()
        pooled = Pooled(connection, driver.session(connection), owner, now, now + self._lifetime_s())
        pooled.record_sockets(driver)
        pooled.identity = driver.identity(connection)
        self._members.add(pooled)
        self.counters.opens += 1
        _process.arm_exit()
        log.debug("connection %r: opened in process %d to %s", self.alias, owner.pid, target.address)
        return pooled

    def _lifetime_s(self) -> float:
        max_age = self.options.max_age
        return float("inf") if max_age is None else max_age * (1 - self.options.jitter * random.random())

    def _refuse_poisoned(self) -> None:
        resource = self._resource
        if resource is not None and resource in _poisoned:
            raise InheritedFileError(self.alias, _poisoned[resource].pid, self._owner.pid, resource)

    def _report_discards(self) -> None:
        if self._unreported_discards:
            discards, self._unreported_discards = self._unreported_discards, 0
            log.debug("connection %r: %d inherited discarded in process %d", self.alias, discards, self._owner.pid)

    def _remove(self, pooled: Pooled[Any]) -> None:
        """Forget a member that is about to be closed; its counts stay."""
        pooled.is_gone = True
        pooled.holder = None
        if self._retract is not None:
            self._retract(pooled.connection)
        with self._turnstile.lock:
            self._members.remove(pooled)
            counters = self.counters
            counters.leases += pooled.leases
            counters.commits += pooled.commits
            counters.rollbacks += pooled.rollbacks
