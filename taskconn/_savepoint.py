"""`savepoint`: a part of a lease's transaction that can be undone alone."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from . import _process
from ._context import current_task, find_pool, is_interrupt
from ._pool import Pool
from ._pooled import Pooled
from ._registry import Handle
from ._work import UnitOfWork, active_work
from .errors import ManualSettlementError, SavepointError, SavepointLostError

__all__ = ["Savepoint", "savepoint"]

C = TypeVar("C")

#: Names are never used twice in a process, so that one that was lost is not taken for another one.
_numbers = itertools.count(1)


class Savepoint(Generic[C]):
    """Undo what the ``with`` block has done if it raises; commit nothing."""

    __slots__ = ("_alias", "_callbacks", "_failure", "_lease", "_name", "_pool", "_pooled", "_work")

    def __init__(self, alias: str | Handle[C]) -> None:
        self._alias = alias
        self._lease: Any = None  # the outermost one, whose transaction it is

    def __repr__(self) -> str:
        return f"<Savepoint of {self._alias!r}, {'ended or not begun' if self._lease is None else 'open'}>"

    def __enter__(self) -> C:
        alias = self._alias.alias if isinstance(self._alias, Handle) else self._alias
        if self._lease is not None:
            raise SavepointError(alias, "it is open already", "Call `taskconn.savepoint()` for each block anew.")
        task = current_task()
        pool: Pool[Any] = find_pool(self._alias, task)
        work = active_work(task)
        lease = None if work is None else work.root(pool)
        if work is None or lease is None:
            remedy = "Write it inside `with taskconn.lease(...)`, or in a function under `@with_db`."
            raise SavepointError(alias, "no lease of that connection is open here", remedy)
        if pool.options.transaction == "none":
            remedy = "Send SAVEPOINT yourself, inside the transaction that you have begun."
            raise SavepointError(alias, "the alias has transaction='none', where taskconn knows of none", remedy)
        if not pool.driver.has_savepoints:
            remedy = "Do what can fail first, or undo it by hand."
            raise SavepointError(alias, f"{pool.driver.package} has no savepoints", remedy)
        connection: C = lease.connection
        self._begin(pool, work, lease)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lease, self._lease = self._lease, None
        if lease is None or lease._pooled is not self._pooled:  # noqa: SLF001 -- a savepoint is a part of its lease
            if exception is not None:
                return
            alias = self._alias.alias if isinstance(self._alias, Handle) else self._alias
            raise SavepointError(alias, "it is not open, or its lease has ended before it", "Nest `with` blocks.")
        pooled, session = self._pooled, self._pooled.session
        if session.refusal == self._refuse:
            session.refusal = None
        if pooled.owner is not _process.owner():  # inherited: the parent's to end
            return
        if exception is not None:
            self._undo(lease, exception)
            return
        try:
            self._pool.driver.release(pooled.connection, self._name)
        except BaseException as error:
            self._undo(lease, error, has_returned=True)
            raise

    # -- private ---------------------------------------------------------------------------------------------

    def _begin(self, pool: Pool[Any], work: UnitOfWork, lease: Any) -> None:
        pooled: Pooled[Any] = lease._pooled  # noqa: SLF001 -- a savepoint is a part of its lease
        self._name = f"taskconn_savepoint_{next(_numbers)}"
        self._pool, self._pooled, self._work = pool, pooled, work
        self._callbacks = len(work.callbacks)
        self._failure = lease._failure  # noqa: SLF001 -- as above
        pool.driver.savepoint(pooled.connection, self._name)
        self._lease = lease
        if pooled.session.refusal is None:
            pooled.session.refusal = self._refuse

    def _undo(self, lease: Any, exception: BaseException, *, has_returned: bool = False) -> None:
        """
        Roll back to the savepoint because of *exception*, which the caller lets pass.

        Raises:
            SavepointLostError: There is none any more. Not where the block itself has raised a driver's error: because
                of that (a deadlock) the server may have ended the transaction.
        """
        driver, pooled, reason = self._pool.driver, self._pooled, type(exception).__name__
        session = pooled.session
        was_failed, lease._failure = self._failure, lease._failure or reason  # noqa: SLF001 -- as above
        del self._work.callbacks[self._callbacks :]
        if is_interrupt(exception):
            session.interrupt = session.interrupt or reason  # no time to ask: the connection is dropped
            return
        if session.interrupt or pooled.is_gone:
            return
        try:
            driver.rollback_to(pooled.connection, self._name)
            driver.release(pooled.connection, self._name)
        except driver.errors as error:
            is_lost = not driver.is_open(pooled.connection) or driver.has_pending_reply(pooled.connection)
            if is_lost or (isinstance(exception, driver.errors) and not has_returned):
                return
            words = f"{type(error).__name__}: {error}"
            raise SavepointLostError(self._pool.alias, words) from exception
        lease._failure = was_failed  # noqa: SLF001 -- as above: what has failed inside is undone

    def _refuse(self, verb: str) -> None:
        raise ManualSettlementError(self._pool.alias, verb, "a savepoint is open, which would be lost")


@overload
def savepoint(alias: Handle[C]) -> Savepoint[C]: ...
@overload
def savepoint(alias: str = "default") -> Savepoint[Any]: ...
def savepoint(alias: str | Handle[C] = "default") -> Savepoint[Any]:
    """
    Undo what the ``with`` block does if it raises, and nothing else of the lease around it. It commits nothing.

    What `after_commit` was given in a block that is undone is dropped; so is the failure of leases inside it, so that
    the outer one can be committed. Blocks nest. An interrupt (a time limit) costs the connection, as anywhere.

    Args:
        alias: Name of the connection, or its handle, which also gives the type. A lease of it has to be open.

    Returns:
        A context manager that gives the lease's connection.

    Raises:
        SavepointError: At the block's begin: no lease is open, or its client has no savepoints.
        SavepointLostError: At its end: a statement has ended the transaction (DDL in MySQL).
    """
    return Savepoint(alias)
