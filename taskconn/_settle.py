"""How a connection's transaction ends, and in which state the connection goes back to its pool."""

from __future__ import annotations

import logging
from typing import Any

from . import _process
from ._cancel import end_statement
from ._interrupts import heard, is_interrupt, is_limit
from ._pool import Pool
from ._pooled import Pooled
from ._server_errors import is_read_only
from ._shield import Shield
from .errors import CommitOutcomeUnknownError

__all__ = ["commit", "roll_back", "rollback_limit_s"]

log = logging.getLogger("taskconn")

#: Longest rollback after an interrupt, in seconds: a hard limit's SIGKILL follows 0.1 s after its SIGTERM.
INTERRUPT_SETTLE_S = 0.1


def commit(pool: Pool[Any], pooled: Pooled[Any]) -> None:
    """
    Commit, and give the connection back; it is gone if that was not possible.

    Raises:
        CommitOutcomeUnknownError: The connection was lost between COMMIT and its answer.
        pool.driver.errors: The commit was refused or could not be sent; it has been rolled back.
        BaseException: An interrupt that could not be held back; its cause is a `CommitOutcomeUnknownError` if COMMIT
            had been sent.
    """
    driver, session, connection, timeout_s = pool.driver, pooled.session, pooled.connection, pool.options.settle_timeout
    if pool.flush is not None:
        try:
            pool.flush(connection)
        except BaseException as exception:
            roll_back(pool, pooled, rollback_limit_s(pool, pooled, exception))
            raise
    if pool.deadlines is not None:
        pool.deadlines.disarm(pooled)
    shield = Shield(pool.alias)
    has_begun, was_pending = False, session.pending  # of a statement that was lost, and its error swallowed
    try:
        with shield:
            has_begun = True
            heard(driver.commit, connection, timeout_s)
            shield.has_committed = True
            pooled.commits += 1
            if pool.deadlines is None and not pool.options.reset and driver.is_as_opened(connection):
                _give_back(pool, pooled)
            else:
                _clean_and_give_back(pool, pooled, timeout_s)
    except BaseException as exception:
        if shield.has_committed:
            if is_limit(exception):  # it came as the shield was taken down
                shield.drop(exception)
                return
            raise  # a terminating signal, delivered right after: the work is done
        # An interrupt that nothing held back may have struck after the answer, when nothing is pending any more.
        is_unanswered = session.pending and not was_pending
        if is_unanswered or session.interrupt or (has_begun and is_interrupt(exception)):
            unknown = CommitOutcomeUnknownError(pool.alias, _words(exception))
            (pool.lose if isinstance(exception, driver.errors) else pool.invalidate)(pooled)
            if isinstance(exception, driver.errors):
                raise unknown from exception
            exception.__cause__ = unknown
            raise
        roll_back(pool, pooled, INTERRUPT_SETTLE_S)
        raise


def rollback_limit_s(pool: Pool[Any], pooled: Pooled[Any], exception: BaseException) -> float:
    """Say how long the rollback after *exception* may take; taint what does not notice interrupts by itself."""
    if not is_interrupt(exception):
        if isinstance(exception, pool.driver.errors) and is_read_only(exception) and pool.opener.pace.is_demoted():
            log.warning("connection %r: the server takes no writes any more; its connections are replaced", pool.alias)
            pool.recycle()
        return pool.options.settle_timeout
    if not pool.driver.notices_interrupts:
        pooled.session.interrupt = type(exception).__name__
    return INTERRUPT_SETTLE_S


def roll_back(pool: Pool[Any], pooled: Pooled[Any], timeout_s: float) -> None:
    """
    Roll back within *timeout_s*, and give the connection back; drop it if it is tainted or does not answer.

    Raises nothing of the driver's: the server rolls back what it no longer hears of.
    """
    driver, session, connection = pool.driver, pooled.session, pooled.connection
    if pooled.is_gone:
        return
    if pool.deadlines is not None:
        pool.deadlines.disarm(pooled)
    if session.closed_by_hand and not session.interrupt:
        pool.close(pooled)
        return
    is_open = driver.is_open(connection)
    if session.interrupt or driver.has_pending_reply(connection) or not is_open:
        drop = pool.invalidate if is_open or session.interrupt else pool.lose
        drop(pooled, is_tainted=session.pending or bool(session.interrupt))
        end_statement(pool, pooled)
        return
    try:
        if driver.transactional and session.sent and not driver.is_settled(connection):
            heard(driver.rollback, connection, timeout_s)
            pooled.rollbacks += 1
    except driver.errors as error:
        log.debug("connection %r: rollback in process %d failed: %s", pool.alias, _process.getpid(), error)
        pool.lose(pooled)
    except BaseException:
        pool.invalidate(pooled, is_tainted=True)
        raise
    else:
        _clean_and_give_back(pool, pooled, timeout_s)


def _clean_and_give_back(pool: Pool[Any], pooled: Pooled[Any], timeout_s: float) -> None:
    """Undo what the task may have changed in client and session; a connection that can't be cleaned is dropped."""
    driver, connection, reset = pool.driver, pooled.connection, pool.options.reset
    try:
        if not driver.is_open(connection):
            pool.invalidate(pooled)
            return
        heard(driver.restore, connection)
        if pool.deadlines is not None:
            heard(pool.deadlines.end, pooled, timeout_s)
        if reset:
            _reset(pool, pooled)
        if pooled.is_gone:
            return
        if driver.has_pending_reply(connection):
            pool.invalidate(pooled, is_tainted=True)
            return
    except BaseException as exception:
        pool.invalidate(pooled)
        if is_interrupt(exception):
            raise
        # The outcome stands, whatever a reset (a callable of the user's, perhaps) makes of the session afterwards.
        log.warning("connection %r: cleaning in process %d failed: %r", pool.alias, _process.getpid(), exception)
    else:
        _give_back(pool, pooled)


def _give_back(pool: Pool[Any], pooled: Pooled[Any]) -> None:
    session = pooled.session
    session.sent = 0  # a proxy that keeps the connection has nothing to settle any more
    session.settled_by_hand = False
    session.undone = 0
    session.refusal = None  # left by an interrupt on the way into, or out of, what refuses
    pool.give_back(pooled)


def _reset(pool: Pool[Any], pooled: Pooled[Any]) -> None:
    """Clear the session's state, as the alias says; a connection that is closed by that is dropped."""
    driver, connection, reset, limit_s = pool.driver, pooled.connection, pool.options.reset, pool.options.settle_timeout
    if callable(reset):
        reset(connection if pool.expose is None else pool.expose(connection))
        if driver.transactional and not driver.is_settled(connection):
            driver.rollback(connection, limit_s)
    elif not pool.opener.shares_sessions:
        heard(driver.reset, connection, limit_s)
        if not driver.is_open(connection):
            pool.invalidate(pooled)
        elif pool.options.max_idle is not None:
            from ._idle import tell_server  # noqa: PLC0415 -- few say `max_idle`

            heard(tell_server, pool.alias, driver, connection, pool.options.max_idle, limit_s)


def _words(exception: BaseException) -> str:
    return f"{type(exception).__name__}: {exception}"
