"""Leases that are held for too long: `WatchedPool` takes the place of a `Pool` where `leak_threshold` is set."""

from __future__ import annotations

import logging
import sys
import time
from traceback import StackSummary, walk_stack
from typing import TypeVar
from weakref import WeakKeyDictionary

from ._pool import Pool
from ._pooled import Pooled

__all__ = ["WatchedPool"]

C = TypeVar("C")
log = logging.getLogger("taskconn")
_monotonic = time.monotonic


class WatchedPool(Pool[C]):
    """
    Report, with the stack that took it, each lease that was held for longer than `leak_threshold`, once.

    It is noticed when the lease ends, when another one of the alias begins, or at the process's end: a task that hangs
    runs no code of ours, and a thread that looked would be alive at forks. An alias without the option does not pay.
    """

    def acquire(self, holder: object) -> Pooled[C]:
        """Take a connection, as every pool does; others that are held for too long are reported."""
        self.report_overdue()
        pooled = super().acquire(holder)
        self._remember(pooled)
        return pooled

    def retake(self, pooled: Pooled[C], holder: object) -> Pooled[C]:
        """Take the connection that the caller's proxy keeps."""
        retaken = super().retake(pooled, holder)
        self._remember(retaken)
        return retaken

    def put_back(self, pooled: Pooled[C]) -> None:
        """Take a connection back."""
        self._report(pooled)
        self._taken.pop(pooled, None)
        super().put_back(pooled)

    def invalidate(self, pooled: Pooled[C], *, is_tainted: bool = False) -> None:
        """Drop a connection."""
        self._report(pooled)
        super().invalidate(pooled, is_tainted=is_tainted)

    def report_overdue(self) -> None:
        """Report the leases of this process that are held for too long at the moment."""
        for pooled in self.members():
            self._report(pooled)

    @property
    def _taken(self) -> WeakKeyDictionary[Pooled[C], StackSummary]:
        """Where each leased connection that was not reported yet was taken; made anew in each process."""
        if self.__dict__.get("_taken_by") is not self._owner:
            self._taken_by, self._stacks = self._owner, WeakKeyDictionary[Pooled[C], StackSummary]()
        return self._stacks

    def _remember(self, pooled: Pooled[C]) -> None:
        self._taken[pooled] = StackSummary.extract(walk_stack(sys._getframe(2)), lookup_lines=False)  # noqa: SLF001 -- has no other name

    def _report(self, pooled: Pooled[C]) -> None:
        now, threshold_s = _monotonic(), self.options.leak_threshold
        if threshold_s is None or pooled.holder is None or now - pooled.taken_at <= threshold_s:
            return
        stack = self._taken.pop(pooled, None)
        if stack is None:  # reported already
            return
        stack.reverse()
        log.warning(
            "connection %r: held by %s, longer than `leak_threshold` (%g s), in process %d; taken here:\n%s",
            self.alias,
            pooled.describe_holder(now),
            threshold_s,
            self._owner.pid,
            "".join(stack.format()),
        )
