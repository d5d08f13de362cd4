"""What a runner has left when a task has ended, or before a fork: rolled back, or closed. For task systems."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from . import _process
from ._cancel import wait_for_cancellers
from ._holds import Hold, unsettled_before
from ._leaks import WatchedPool
from ._pool import Pool
from ._registry import close_all, registries
from ._settle import roll_back
from ._watchdog import arm, disarm
from ._work import unended_leases
from .errors import LeaseEndedError

__all__ = ["close_overdue", "close_unused", "end_process", "open_pools", "roll_back_leftovers", "used_pools"]

log = logging.getLogger("taskconn")

#: Longest wait at the process's end beyond `close_timeout`, in seconds, for clients that do not keep to it.
_SLACK_S = 0.5


def roll_back_leftovers(name: str, pools: Iterable[Pool[object]] | None = None) -> None:
    """
    Roll back what a task that has ended left open in this runner: leases never given back, a proxy's transaction.

    Without it the next task in the same process would commit the work of this one. No round trip if nothing was left.

    Args:
        name: Name of the task, for the log.
        pools: All that were used in this process, if the caller has them at hand.
    """
    for lease in unended_leases(of_tasks_only=True):
        log.warning("%s left a lease open, which is rolled back: %r, process %d", name, lease, _process.getpid())
        lease.fail(LeaseEndedError(name, "was left open"))
    for pool in used_pools() if pools is None else pools:
        hold = None if pool.holds is None else _hold(pool)
        if hold is None and pool.former:
            hold = unsettled_before(pool, _process.current_runner())
        if hold is not None and not hold.is_settled:
            log.debug("connection %r: what %s sent by proxy and never committed is rolled back", pool.alias, name)
            roll_back(hold.pool, hold.pooled, pool.options.settle_timeout)


def close_unused() -> None:
    """
    Say goodbye to every connection of this process that nobody is using: idle ones, and this runner's proxies'.

    Leases that are open and transactions that a proxy has begun stay: they are somebody's work.
    """
    for pool in open_pools():
        pool.close_idle()
        hold = _hold(pool)
        if hold is not None and hold.is_settled:
            pool.close(hold.pooled)


def close_overdue() -> float | None:
    """
    Say goodbye to the connections that nobody is using, and has used for `max_idle`: for runners that wait for work.

    Returns:
        Seconds until another one is due; None if none will be while this runner waits.
    """
    due_in_s: list[float] = []
    for pool in open_pools():
        if (max_idle := pool.options.max_idle) is None:
            continue
        last = time.monotonic() - max_idle
        pool.close_idle(last)
        hold = _hold(pool)
        if hold is not None and hold.is_settled and hold.pooled.used_at < last:
            pool.close(hold.pooled)
        kept = [pooled.used_at for pooled in pool.members() if pooled.holder is None]
        if hold is not None and hold.is_settled and hold.is_usable:
            kept.append(hold.pooled.used_at)
        due_in_s += [used_at - last for used_at in kept]
    return min(due_in_s, default=None)


def end_process(or_else: Callable[[], object] | None = None) -> None:
    """
    Roll back the leases that this runner still holds, those outside of tasks included, and say goodbye to every server.

    Called as the process ends: a module that took a lease when it was imported has no other end.

    Args:
        or_else: Called by a thread when that takes longer than the longest `close_timeout` and a bit: a client hangs.
    """
    wait_for_cancellers()
    pools = open_pools()
    if not pools:
        return
    limit: _Limit | None = None
    if or_else is not None:
        limit = _Limit(max(pool.options.close_timeout for pool in pools) + _SLACK_S, or_else)
        arm(limit)
    for pool in pools:
        if isinstance(pool, WatchedPool):
            pool.report_overdue()
    for lease in unended_leases(of_tasks_only=False):
        lease.fail(SystemExit())  # as after an interrupt: rolled back in no time, or dropped
    close_all()
    if limit is not None:
        disarm(limit)


class _Limit:
    """Do something else when it is time: an entry of the watchdog's, whose thread is there already, or takes little."""

    def __init__(self, after_s: float, or_else: Callable[[], object]) -> None:
        self.at = time.monotonic() + after_s
        self._or_else = or_else

    def pass_(self) -> None:
        """Do it."""
        self._or_else()


def used_pools() -> list[Pool[object]]:
    """List the pools that were used so far in this process, and its ancestors: each once."""
    return list({id(pool): pool for registry in registries() for pool in registry.pools()}.values())


def open_pools() -> list[Pool[object]]:
    """List the pools, each once, that have connections of this process."""
    return [pool for pool in used_pools() if pool.members()]


def _hold(pool: Pool[object]) -> Hold | None:
    """Give what this runner's proxy holds of *pool*, unless a lease has taken it over."""
    hold = None if pool.holds is None else pool.holds.get(_process.current_runner())
    return hold if hold is not None and hold.is_usable and not hold.is_lent else None


_process.at_exit(end_process)
