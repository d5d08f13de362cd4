"""The task's remaining time as a bound of one lease's statements: told to the server, and kept by a thread."""

from __future__ import annotations

import contextlib
import logging
import time
import weakref
from typing import Any, NamedTuple

from . import _process
from ._cancel import WAIT_S, Canceller
from ._pooled import Pooled
from ._watchdog import arm, disarm, shut

__all__ = ["Deadlines"]

log = logging.getLogger("taskconn")
_monotonic = time.monotonic

#: So much later than the task's own limit, in seconds, is a statement ended: the task sees its limit's exception.
GRACE_S = 0.1

#: So long may a statement last, in seconds, that began in this moment.
LATE_S = 1.0


class _Variable(NamedTuple):
    """
    A setting of the server's session that bounds each statement.

    Attributes:
        name: Its name.
        per_s: What is added to it for a second.
        step: The smallest value above 0, which is "no limit".
    """

    name: str
    per_s: float
    step: float

    def set_to(self, value: float) -> str:
        """Write the statement that sets it."""
        return (
            f"SET SESSION {self.name} = {value:.3f}" if self.step < 1 else f"SET SESSION {self.name} = {round(value)}"
        )


_VARIABLES = {
    "max_statement_time": _Variable("max_statement_time", 1, 0.001),  # MariaDB
    "max_execution_time": _Variable("max_execution_time", 1000, 1),  # MySQL: for SELECT alone
    "statement_timeout": _Variable("statement_timeout", 1000, 1),  # PostgreSQL
}

#: Asks, by dialect, for names and values of those that the server has.
_QUESTIONS = {
    "mysql": "SHOW SESSION VARIABLES WHERE Variable_name IN ('max_statement_time', 'max_execution_time')",
    "postgresql": "SELECT name, setting FROM pg_settings WHERE name = 'statement_timeout'",
}


class Limits:
    """
    Remember what one connection was told.

    Attributes:
        variable: The server's setting; None if it has none, or refused.
        former: What that is without a deadline, 0 for no limit.
        is_set: It was changed, and has to be put back.
        watch: What cancels; None if no lease with a deadline holds the connection.
    """

    def __init__(self, variable: _Variable | None, former: float) -> None:
        self.variable = variable
        self.former = former
        self.is_set = False
        self.watch: Watch | None = None


class Watch:
    """
    Cancel what runs when the deadline has passed; a thread calls it, first at the deadline, then `GRACE_S` later.

    A statement that began in between may be the task's cleaning up, or wait in C, deaf to a signal that came a moment
    late: it has `LATE_S`. If yet another one has begun by then, Python ran, and the task has heard its limit.

    Attributes:
        at: Monotonic time, in seconds, at which it is to be called next.
        canceller: What ends the statement; None if that was not needed.
        is_over: It was called for the last time.
    """

    __slots__ = ("_pauses_s", "_pool", "_pooled", "_sent", "at", "canceller", "is_over")

    def __init__(self, pool: Any, pooled: Pooled[Any], deadline: float) -> None:
        self._pool = pool
        self._pooled = weakref.ref(pooled)  # a connection that gets lost is to be collected
        self._sent = -1
        self._pauses_s = [LATE_S, GRACE_S]  # the last one first
        self.at = deadline
        self.canceller: Canceller | None = None
        self.is_over = False

    def pass_(self) -> None:
        """Note what was sent until now; or cancel, if that is what still runs."""
        pooled = self._pooled()
        if pooled is None or pooled.is_gone or pooled.owner is not _process.owner():
            self.is_over = True
        elif self._pauses_s and pooled.session.sent != self._sent:
            self._sent = pooled.session.sent
            self.at += self._pauses_s.pop()
            arm(self)
        else:
            if pooled.session.sent == self._sent:
                with contextlib.suppress(Exception):
                    self._cancel(pooled)
            self.is_over = True

    def _cancel(self, pooled: Pooled[Any]) -> None:
        pool = self._pool
        pooled.expires_at = pooled.fresh_until = 0.0  # never used again: an end that comes late may hit nothing
        self.canceller = Canceller(pool.alias, pool.driver, pool.target, pool.options, pooled)
        if self.canceller.start(is_native=True):
            return
        if pooled.session.pending or not pool.driver.counts_statements:  # it waits, or nobody knows
            for fd in pool.driver.sockets(pooled.connection):
                shut(fd)


class Deadlines:
    """
    Bound the leases of one alias that says ``deadline=True`` by what is left to their tasks.

    The server bounds each statement by what was left when the lease began, which holds though this process be killed. A
    thread ends what still runs when the task's time is over: also where the client waits in C, deaf to its limit.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def begin(self, pooled: Pooled[Any], deadline: float | None) -> None:
        """
        Bound what the lease of *pooled* that begins will send. A task without a limit, or past it, is not bounded.

        Raises:
            BaseException: An interrupt. What the server refuses is logged: then only the thread is left.
        """
        left_s = 0.0 if deadline is None else deadline - _monotonic()
        if deadline is None or left_s <= 0:
            return
        session, pool = pooled.session, self._pool
        limits = pooled.limits
        if limits is None:
            limits = pooled.limits = self._learn(pooled)
        session.settled_by_hand = True  # there is something to put back, though the task send nothing
        session.deadline = deadline
        variable = limits.variable
        if variable is not None:
            wanted = max(variable.step, (left_s + GRACE_S) * variable.per_s)
            if not limits.former or wanted < limits.former:
                limits.is_set = self._tell(pooled, variable, wanted)
        limits.watch = Watch(pool, pooled, deadline)
        arm(limits.watch)

    def disarm(self, pooled: Pooled[Any]) -> None:
        """Have nothing cancelled from here on: what comes next is the lease's end, not a statement of the task's."""
        pooled.session.deadline = None
        limits = pooled.limits
        if limits is None or limits.watch is None:
            return
        watch, limits.watch = limits.watch, None
        if not disarm(watch):
            while not watch.is_over and not disarm(watch):  # the thread is at it
                time.sleep(0.0005)
        if watch.canceller is not None:
            patience = _monotonic() + WAIT_S
            while not watch.canceller.done.is_set() and _monotonic() < patience:  # set by a thread that no hub knows
                time.sleep(0.001)

    def end(self, pooled: Pooled[Any], timeout_s: float) -> None:
        """
        Put the server's setting back, now that the transaction is settled.

        Raises:
            driver.errors: It could not be: the connection is of no use.
        """
        limits = pooled.limits
        if limits is not None and limits.is_set and limits.variable is not None:
            self._pool.driver.ask(pooled.connection, limits.variable.set_to(limits.former), timeout_s)
            limits.is_set = False

    def _learn(self, pooled: Pooled[Any]) -> Limits:
        """Ask which setting the server has, once for each connection; a pooler's session is not to be changed."""
        driver, pool = self._pool.driver, self._pool
        question = _QUESTIONS.get(driver.dialect)
        if question is None or pool.opener.shares_sessions:
            return Limits(None, 0)
        try:
            rows = driver.ask(pooled.connection, question, pool.options.settle_timeout)
        except driver.errors as error:
            self._warn(error)
            return Limits(None, 0)
        if not rows:
            return Limits(None, 0)
        name, value = max((_text(name), _text(value)) for name, value in rows)  # MariaDB's own, should it have both
        return Limits(_VARIABLES[name], float(value))

    def _tell(self, pooled: Pooled[Any], variable: _Variable, value: float) -> bool:
        driver = self._pool.driver
        try:
            driver.ask(pooled.connection, variable.set_to(value), self._pool.options.settle_timeout)
        except driver.errors as error:
            self._warn(error)
            return False
        return True

    def _warn(self, error: BaseException) -> None:
        pid = _process.getpid()
        log.warning("connection %r: the server took no deadline: %s, process %d", self._pool.alias, error, pid)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
