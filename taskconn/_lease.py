"""What a task holds between getting and giving back: `Lease`. How its end is brought about stands in `_settle.py`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from . import _process
from ._context import TaskContext, current_task, find_pool, is_interrupt
from ._ending import Exit
from ._holds import Hold, unsettled_before
from ._pool import Pool
from ._pooled import Pooled
from ._process import me, unforked
from ._registry import Handle
from ._settle import commit, roll_back, rollback_limit_s
from ._work import UnitOfWork, enter_work
from .errors import (
    LeaseEndedError,
    ManualSettlementError,
    PartialCommitError,
    RollbackOnlyError,
    TaintedConnectionError,
    UnsettledProxyError,
)

__all__ = ["Lease", "find_pool", "lease"]

C = TypeVar("C")
_getframe = sys._getframe


class Lease(Generic[C]):
    """
    Hold one connection of an alias for one unit of work, and settle it at the end.

    Use it by ``with``, or by `begin`, then `succeed` or `fail`. Leases of one alias nest: an inner one joins the
    connection and the transaction of the outer one, and only the outermost settles.
    """

    __slots__ = (
        "__weakref__", "_alias", "_depth", "_failure", "_hold", "_holder", "_pool", "_pooled", "_root", "_work",
    )  # fmt: skip

    def __init__(self, alias: str | Handle[C], holder: object) -> None:
        self._alias = alias
        self._holder = holder
        self._root: Lease[C] | None = None
        self._pooled: Pooled[C] | None = None
        self._hold: Hold | None = None
        self._work: UnitOfWork | None = None
        self._depth = 0

    def __repr__(self) -> str:
        state = "ended" if self._work is None else "joined" if self._root is not None else "holding"
        return f"<Lease {self._alias!r}, {state}>"

    def __enter__(self) -> C:
        try:
            return self.begin(current_task())
        except BaseException as interrupt:  # on the way back, perhaps: there is no block yet that would end it
            if self.is_open:
                self.fail(interrupt)
            raise

    if TYPE_CHECKING:

        def __exit__(self, *raised: object) -> None: ...

    else:
        __exit__ = Exit()

    # -- the three steps -------------------------------------------------------------------------------------

    def begin(self, task: TaskContext | None) -> C:
        """
        Take a connection, or join the lease of the same alias that this runner holds for the same task.

        Raises:
            ConfigurationError: The alias can't be had.
            ConnectionError: No connection can be had.
            LeaseEndedError: The lease is held already.
        """
        if self._work is not None:
            raise LeaseEndedError(self._name, "was begun twice")
        if not unforked[0]:
            _process.note_hookless_fork()
        pool = self._pool = find_pool(self._alias, task)
        work = enter_work(task, me.owner)
        leases = work.leases
        if (root := leases.get(pool)) is not None:
            return self._join(root, work)
        self._failure = ""
        try:
            self._pooled = pooled = pool.acquire(self._holder) if pool.holds is None else self._take_over(pool, work)
            if pool.deadlines is not None:
                pool.deadlines.begin(pooled, None if task is None else task.deadline)
            exposed = pooled.connection if pool.expose is None else pool.expose(pooled.connection)
            leases[pool] = self
            self._work = work
        except BaseException:  # an interrupt on the way in: nobody will give this back
            leases.pop(pool, None)
            if self._pooled is not None:
                pool.invalidate(self._pooled)
            self._pooled = None
            self._return_hold()
            raise
        return exposed

    def succeed(self, *, commits: bool = True) -> None:
        """
        Commit, unless nothing was sent; then, if this was the outermost lease, run what waited for the commit.

        Args:
            commits: False rolls back although nothing was raised (RQ's returned ``Retry``).

        Raises:
            RollbackOnlyError: A joined lease had failed, and the error was swallowed.
            TaintedConnectionError: An interrupt in the middle of a statement was swallowed.
            CommitOutcomeUnknownError: The connection was lost between COMMIT and its answer.
            PartialCommitError: The commit failed after that of another alias.
        """
        work, pooled = self._work, self._pooled
        if work is None or pooled is None:
            self._leave("" if commits else "a returned value that means failure")
            return
        taken_at, leases, session = pooled.taken_at, work.leases, pooled.session
        try:
            leases.pop(self._pool, None)
            self._work = self._pooled = None
            if pooled.owner is not me.owner or not unforked[0]:  # inherited: the parent settles it
                return
            pooled.leases += 1
            is_used = session.sent or session.pending or session.interrupt
            if is_used or session.closed_by_hand or session.settled_by_hand or self._failure or not commits:
                self._settle(work, pooled, commits=commits)
            else:  # no round trip
                self._pool.put_back(pooled)
            if self._hold is not None:
                self._return_hold()
        except BaseException:
            self._abandon(work, pooled, taken_at)
            raise
        if (work.callbacks or work.committed) and not leases:
            work.committed.clear()
            if work.callbacks:
                work.run_callbacks()

    def fail(self, exception: BaseException) -> None:
        """Roll back because of *exception*, which the caller lets pass; raises nothing but a further interrupt."""
        work, pooled = self._work, self._pooled
        if work is None or pooled is None:
            self._leave(type(exception).__name__)
            return
        taken_at = pooled.taken_at
        try:
            work.leases.pop(self._pool, None)
            self._work = self._pooled = None
            if pooled.owner is _process.owner():  # else inherited: the parent settles it
                pooled.leases += 1
                self._roll_back(work, pooled, rollback_limit_s(self._pool, pooled, exception))
        except BaseException:
            self._abandon(work, pooled, taken_at)
            raise

    def drop(self) -> None:
        """Drop the connection of a lease that nobody holds any more: it can be neither ended nor joined."""
        work, pooled = self._work, self._pooled
        self._work = self._pooled = None
        if work is not None and pooled is not None:
            work.leases.pop(self._pool, None)
            self._abandon(work, pooled, pooled.taken_at)

    @property
    def connection(self) -> C:
        """The connection that the lease holds; `LeaseEndedError` if it holds none."""
        pooled = self._pooled if self._root is None else self._root._pooled
        if pooled is None:
            raise LeaseEndedError(self._name, "was never begun, or has ended")
        return pooled.connection if self._pool.expose is None else self._pool.expose(pooled.connection)

    @property
    def is_open(self) -> bool:
        """Has the lease begun, and not ended?"""
        return self._work is not None

    @property
    def is_tainted(self) -> bool:
        """Was its connection interrupted in the middle of a statement, so that it can't be committed?"""
        pooled = self._pooled if self._root is None else self._root._pooled
        return pooled is not None and bool(pooled.session.interrupt)

    # -- private ---------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._alias.alias if isinstance(self._alias, Handle) else self._alias

    def _settle(self, work: UnitOfWork, pooled: Pooled[C], *, commits: bool) -> None:
        pool, session = self._pool, pooled.session
        is_half_read = session.pending and not session.sent
        if session.interrupt or self._failure or session.closed_by_hand or is_half_read or not commits:
            self._roll_back(work, pooled, pool.options.settle_timeout)
            if session.interrupt:
                raise TaintedConnectionError(pool.alias, session.interrupt)
            if self._failure:
                raise RollbackOnlyError(pool.alias, self._failure)
            return
        if pool.options.transaction == "none" or not pool.driver.transactional or not session.sent:
            roll_back(pool, pooled, pool.options.settle_timeout)  # what the task has left open is not the next one's
            return
        try:
            commit(pool, pooled)
        except BaseException as exception:
            work.callbacks.clear()
            if work.committed and not is_interrupt(exception):
                committed = ", ".join(map(repr, work.committed))
                words = f"{type(exception).__name__}: {exception}"
                raise PartialCommitError(committed, pool.alias, words) from exception
            raise
        if pool.alias not in work.committed:
            work.committed.append(pool.alias)

    def _roll_back(self, work: UnitOfWork, pooled: Pooled[C], timeout_s: float) -> None:
        work.callbacks.clear()
        if not work.leases:
            work.committed.clear()
        roll_back(self._pool, pooled, timeout_s)
        self._return_hold()

    def _abandon(self, work: UnitOfWork, pooled: Pooled[C], taken_at: float) -> None:
        """
        Drop what the end of the lease has not given back, because it raised or was interrupted on the way.

        Given back, the connection may belong to the next one already, who has set another `taken_at` first.
        """
        work.callbacks.clear()
        if pooled.holder is self._holder and pooled.taken_at is taken_at and not pooled.is_gone:
            self._pool.invalidate(pooled)
        self._return_hold()

    def _join(self, root: Lease[C], work: UnitOfWork) -> C:
        pooled: Pooled[C] = root._pooled  # type: ignore[assignment]  # it is open, for its unit of work lists it
        self._root = root
        self._work = work
        root._depth += 1
        if pooled.session.refusal is None:
            pooled.session.refusal = root._refuse
        return root.connection

    def _leave(self, failure: str) -> None:
        """End a joined lease: the outermost one settles; after a failure it can only roll back."""
        root = self._root
        if root is None:
            raise LeaseEndedError(self._name, "was never begun, or has ended")
        self._root = self._work = None
        root._depth -= 1
        if failure:
            root._failure = root._failure or failure
        pooled = root._pooled
        if pooled is not None and not root._depth and pooled.session.refusal == root._refuse:
            pooled.session.refusal = None

    def _refuse(self, verb: str) -> None:
        raise ManualSettlementError(self._name, verb, "this lease has joined an outer one, whose transaction it is")

    def _take_over(self, pool: Pool[C], work: UnitOfWork) -> Pooled[C]:
        """Take the connection that this runner's proxy holds, if it holds one."""
        hold = (pool.holds and pool.holds.get(work.runner())) or unsettled_before(pool, work.runner())
        if hold is None or hold.is_lent or not hold.is_usable:  # lent: to the lease of a task around this one
            return pool.acquire(self._holder)
        if not hold.is_settled:
            raise UnsettledProxyError(pool.alias)
        self._hold = hold
        hold.is_lent = True
        return pool.retake(hold.pooled, self._holder)

    def _return_hold(self) -> None:
        if self._hold is not None:
            self._hold.is_lent = False
            self._hold = None


@overload
def lease(alias: Handle[C]) -> Lease[C]: ...
@overload
def lease(alias: str = "default") -> Lease[Any]: ...
def lease(alias: str | Handle[C] = "default") -> Lease[Any]:
    """
    Lease a connection for the ``with`` block: committed if the block ends, rolled back if it raises.

    Args:
        alias: Name of the connection, or its handle, which also gives the type.

    Returns:
        A context manager that gives the connection. Errors: see `Lease.begin` and `Lease.succeed`.
    """
    frame = _getframe(1)
    return Lease(alias, (frame.f_code, frame.f_lasti))
