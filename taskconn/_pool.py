"""The connections of one alias in one process: idle and leased, age, health and number. Settling is the lease's."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from . import _process
from ._fitness import LOSSES, Fitness, examine
from ._holds import Hold, PerRunner
from ._interrupts import heard
from ._opening import Opener
from ._pooled import Pooled, describe_holders
from ._process import Owner, Socket, WeakMembers
from ._turnstile import Permit, Turnstile, concurrency, set_concurrency
from .driver import Driver, Target
from .errors import AcquireTimeoutError, ConnectionFailedError
from .options import Options
from .telemetry import Counters

__all__ = ["Pool", "set_concurrency"]

C = TypeVar("C")
log = logging.getLogger("taskconn")
_monotonic = time.monotonic

#: Holder of a connection that a proxy keeps, while nobody uses it.
_PROXY = "a proxy"


class Pool(Generic[C]):
    """Keep the connections of one alias that this process opened; see `Turnstile` for who gets the next one."""

    def __init__(self, alias: str, driver: Driver[C], target: Callable[[], Target], options: Options) -> None:
        self.alias, self.driver, self.options = alias, driver, options
        self.counters = Counters()
        self.is_retired = False
        self.target = target
        self.opener = Opener(alias, driver, target, options)
        #: What proxies keep, by runner; None until the first proxy of the alias is used.
        self.holds: PerRunner[Hold] | None = None
        self.former: list[Pool[Any]] = []  # the alias's, by settings that were replaced: proxies may still use them
        self.shared: C | None = None  # what proxies use instead, outside of leases, while a test's sandbox is open
        self._unsettled_sent = 0 if driver.counts_statements else 1
        self.expose, self.flush, self._retract = driver.stand_ins()
        self.deadlines: Any = None  # `Deadlines`, where the alias asks for them
        self._renew(_process.owner())
        self._inherited: list[Pooled[C]] = []
        self._unreported_discards = 0
        _process.watch(self)

    def _renew(self, owner: Owner) -> None:
        """Begin empty in the process that *owner* names; locks of before a fork may be held by nobody."""
        self._owner = owner
        self._members: WeakMembers[Pooled[C]] = WeakMembers()
        self._turnstile: Turnstile[C] = Turnstile(self._members.__len__, lambda: self.max_size)
        self._idle = self._turnstile.idle
        self._waiters = self._turnstile.waiters
        self._counting = threading.RLock()  # a destructor may come in between
        self.opener.renew()

    def __repr__(self) -> str:
        leased = len(self._members) - len(self._idle)
        return f"<Pool {self.alias!r} of process {self._owner.pid}: {len(self._idle)} idle, {leased} leased>"

    @property
    def max_size(self) -> int | None:
        """Most connections in this process; None is no limit."""
        return concurrency() if self.options.max_size is None else self.options.max_size

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
            pooled = self._find()
            now = _monotonic()
        else:
            now = _monotonic()
            if now >= pooled.fresh_until and not self.is_fit(pooled, now):
                pooled = self._find()
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
        self.opener.keep_fresh(pooled, now)
        return True

    def retake(self, pooled: Pooled[C], holder: object) -> Pooled[C]:
        """Take the connection that the caller's proxy keeps, or another one if it is not fit any more."""
        if not self.refresh(pooled):
            return self.acquire(holder)
        pooled.taken_at, pooled.holder, pooled.session.sent = _monotonic(), holder, self._unsettled_sent
        return pooled

    def give_back(self, pooled: Pooled[C]) -> None:
        """Take back a connection that was used, is settled and clean: it has proven that it is alive."""
        pooled.used_at = now = _monotonic()
        self.opener.keep_fresh(pooled, now)
        self.put_back(pooled)

    def put_back(self, pooled: Pooled[C]) -> None:
        """Take back a connection to which nothing was said; one that a proxy keeps stays the proxy's."""
        if self._retract is not None:
            self._retract(pooled.connection)
        if pooled.held_by is not None and not self.is_retired:
            pooled.holder = _PROXY
            return
        pooled.holder = None
        self._idle.append(pooled)
        if self._waiters:
            self._turnstile.serve()
        if self.is_retired:  # after it is back, for another thread may retire the pool at any time
            self.close_idle()

    def invalidate(self, pooled: Pooled[C], *, is_tainted: bool = False) -> None:
        """Drop a connection that may be broken: its socket is shut, the server rolls back."""
        self._remove(pooled)
        self.counters.invalidations += 1
        self.counters.taints += is_tainted
        log.debug("connection %r: invalidated in process %d", self.alias, self._owner.pid)
        heard(self.driver.invalidate, pooled.connection)
        self._turnstile.serve()

    def lose(self, pooled: Pooled[C], *, is_tainted: bool = False) -> None:
        """Drop a connection that the server has ended, or does not answer: the others are not trusted unseen either."""
        for other in self._members.list():
            other.suspect(is_silent=self.opener.is_hasty)
        self.opener.pace.lost()
        self.invalidate(pooled, is_tainted=is_tainted)

    def close(self, pooled: Pooled[C]) -> None:
        """Say goodbye to a connection that is settled."""
        self._remove(pooled)
        self.counters.closes += 1
        log.debug("connection %r: closed in process %d", self.alias, self._owner.pid)
        heard(self.driver.close, pooled.connection, self.options.close_timeout)
        self._turnstile.serve()

    def warm(self) -> None:
        """Open one connection if there is none."""
        if not self._members:
            self.give_back(self.acquire("warm-up"))

    def recycle(self) -> None:
        """Replace every connection at its next safe moment: idle ones at their next use, leased ones after it."""
        for pooled in self._members.list():
            pooled.expires_at = pooled.fresh_until = 0.0

    def close_idle(self, used_before: float = math.inf) -> None:
        """Say goodbye to the idle connections of this process that were last used before that monotonic time."""
        for pooled in list(self._idle):
            if pooled.used_at < used_before and _process.owner() is self._owner and self._turnstile.take(pooled):
                self.close(pooled)

    def close_unleased(self) -> None:
        """Say goodbye to every connection of this process that no lease, nor another thread's proxy, holds."""
        self.close_idle()
        for pooled in self._members.list():
            if pooled.is_quiet_proxys and pooled.owner is _process.owner():
                self.close(pooled)

    def retire(self) -> None:
        """Close what is idle now and the rest when it is given back: the alias has new settings."""
        self.is_retired = True
        self.close_idle()
        hold = None if self.holds is None else self.holds.get(_process.current_runner())
        if hold is not None and (hold.is_lent or hold.is_settled):
            hold.release()  # others are given back when they are settled, or their thread ends

    def members(self) -> list[Pooled[C]]:
        """List this process's connections, idle and leased."""
        return self._members.list()

    def stats(self) -> dict[str, int]:
        """Count what happened in this process; see `Counters`. ``open`` and ``leased`` are of this moment."""
        return self.counters.as_dict(self._members.list())

    # -- forks (`_process.ForkAware`) ------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Record where the sockets are now; close what no child can be kept from harming."""
        if self.driver.closes_before_fork:
            self.close_idle()
            for pooled in self._members.list():
                if pooled.is_own_proxys and self.driver.is_settled(pooled.connection):
                    self.close(pooled)  # the proxy opens anew when it is next used
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
        if members and self.driver.closes_before_fork:
            self.opener.poison(parent)
        self._inherited += [pooled for pooled in members if pooled.holder is not None]
        self.counters = Counters()
        self.counters.discards = self._unreported_discards = len(members)
        self._renew(_process.owner())

    def is_fit(self, pooled: Pooled[C], now: float) -> bool:
        """Check a connection that was idle for a while; one that is not fit is closed or dropped here."""
        try:
            fitness = heard(examine, pooled, self.driver, self.options, now, self.counters)
        except BaseException:  # an interrupt: the answer would be the next task's
            self.invalidate(pooled, is_tainted=True)
            raise
        if fitness is Fitness.FIT:
            self.opener.keep_fresh(pooled, now)
        elif fitness is Fitness.EXPIRED:
            self.counters.recycles += 1
            self.close(pooled)
        else:
            self.opener.learn(fitness)
            (self.lose if fitness in LOSSES else self.invalidate)(pooled, is_tainted=fitness is Fitness.TAINTED)
        return fitness is Fitness.FIT

    def _find(self) -> Pooled[C]:
        """Take the first idle connection that is fit, else open one, or wait for either where `max_size` are in use."""
        while True:
            try:
                found: Pooled[C] | Permit | None = self._idle.pop()
            except IndexError:
                found = self._wait() if self.max_size is not None else None
            if isinstance(found, Pooled):
                now = _monotonic()
                if now < found.fresh_until or self.is_fit(found, now):
                    return found
                continue
            try:
                return self._open()
            finally:
                if found is not None:
                    self._turnstile.opened(found)

    def _wait(self) -> Pooled[C] | Permit:
        started = _monotonic()
        try:
            return self._turnstile.enter(self.options.acquire_timeout, self.counters)
        except TimeoutError:
            now = _monotonic()
            holders = describe_holders(self.members(), now)
            raise AcquireTimeoutError(self.alias, round((now - started) * 1000), self.max_size or 0, holders) from None

    def _open(self) -> Pooled[C]:
        owner = self._owner
        if self._unreported_discards:
            discards, self._unreported_discards = self._unreported_discards, 0
            log.debug("connection %r: %d inherited discarded in process %d", self.alias, discards, owner.pid)
        try:
            pooled = self.opener.open(owner)
        except ConnectionFailedError as error:
            self.counters.failed_opens += error.tries
            raise
        self._members.add(pooled)
        self.counters.opens += 1
        _process.arm_exit()
        log.debug("connection %r: opened in process %d", self.alias, owner.pid)
        return pooled

    def _remove(self, pooled: Pooled[Any]) -> None:
        """Forget a member that is about to be closed; its counts stay."""
        pooled.is_gone = True
        pooled.holder = None
        self._members.remove(pooled)
        with self._counting:
            self.counters.keep(pooled)
