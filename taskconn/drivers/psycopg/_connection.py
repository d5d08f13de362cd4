"""psycopg's connection as a task gets it, and as the driver settles it; its guard stands in `_guarded.py`."""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Generator, Iterator, Mapping
from types import TracebackType
from typing import Any

import psycopg
from psycopg import pq

from ..._process import getpid
from ...driver import Peek, Session
from ._cursor import Cursor, ServerCursor
from ._guarded import GuardedConnection
from ._waiting import NoAnswerError

__all__ = ["Connection"]

_monotonic = time.monotonic
_IDLE = pq.TransactionStatus.IDLE

#: What a task may change in the client. Switching it sends nothing, so it counts as a statement: see `wait`.
_CLIENT_STATE = (
    "_autocommit",
    "_isolation_level",
    "_read_only",
    "_deferrable",
    "row_factory",
    "cursor_factory",
    "server_cursor_factory",
    "prepare_threshold",
    "prepared_max",
)
_client_state = operator.attrgetter(*_CLIENT_STATE)


class Connection(GuardedConnection):
    """A psycopg connection that counts statements, and asks before a task settles by hand what is not its own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = Cursor
        self.server_cursor_factory = ServerCursor
        self._at_open = _client_state(self)

    def belong_to(self, session: Session, settings: Mapping[str, Any]) -> None:
        """Take what `psycopg.connect` takes besides libpq's arguments, and begin to count."""
        adapters = settings.get("context")
        if adapters is not None:
            self._adapters = psycopg.adapt.AdaptersMap(adapters.adapters)
        for name in ("row_factory", "cursor_factory", "prepare_threshold"):
            if name in settings:
                setattr(self, name, settings[name])
        self._autocommit = bool(settings.get("autocommit", False))
        self._at_open = _client_state(self)
        self.session = session

    # -- what the task calls -----------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit by hand."""
        self._refuse("commit")
        super().commit()

    def rollback(self) -> None:
        """Roll back by hand. After an interrupt the server does, and the interrupt is not to be masked."""
        if self.session.interrupt and self.session.owner_pid == getpid():
            return
        self._refuse("rollback")
        super().rollback()

    def _set_autocommit(self, value: bool) -> None:  # noqa: FBT001 -- psycopg's signature
        self._refuse("autocommit")
        super()._set_autocommit(value)

    @contextlib.contextmanager
    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> Iterator[Any]:  # noqa: FBT001, FBT002 -- psycopg's signature
        """Begin a block: a savepoint if a transaction is open, else a transaction that it settles by hand."""
        self.refuse_others()
        if self.pgconn.transaction_status == pq.TransactionStatus.IDLE:
            self._refuse("transaction")
        with self.leaving(super().transaction(savepoint_name, force_rollback)) as block:
            yield block

    @contextlib.contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        """Begin a pipeline."""
        self.refuse_others()
        with self.leaving(super().pipeline()) as pipeline:
            yield pipeline

    def cancel(self) -> None:
        """Cancel what runs. A child can't: that would be its parent's query."""
        self.refuse_others()
        super().cancel()

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Cancel what runs, within *timeout* seconds."""
        if self.session.owner_pid != getpid():
            self.refuse_others()
        super().cancel_safe(timeout=timeout)

    def close(self) -> None:
        """Close by hand: the server rolls back. An inherited connection is left alone."""
        session = self.session
        if session.owner_pid != getpid():
            return
        if session.refusal is not None:
            session.refusal("close")
        session.closed_by_hand = True
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        refusal = self.session.refusal
        if self.session.owner_pid != getpid():
            return
        if refusal is None:
            super().__exit__(kind, exception, traceback)
        elif exception is None or isinstance(exception, Exception):
            refusal("close")  # else the process is to end, and the lease with it

    # -- what the driver calls ---------------------------------------------------------------------------

    def settle(self, verb: str, timeout_s: float) -> None:
        """
        Send *verb*, COMMIT or ROLLBACK, if there is something to settle, and if it can be sent at all.

        Raises:
            psycopg.Error: `Session.pending` is True afterwards if *verb* was sent and never answered.
        """
        deadline, session = _monotonic() + timeout_s, self.session
        if self._make_ready(verb, deadline) != _IDLE:
            session.pending = True
            try:
                if verb == "COMMIT":
                    self.commit_within(deadline)
                else:
                    self.exchange_within(self._rollback_gen(), deadline)
                session.pending = False
            except psycopg.Error:
                if not self.closed and self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
                    session.pending = False  # refused
                else:
                    self.drop()
                raise
        if self.lock.locked():  # by rows that somebody has not read to their end: they may cancel what comes next
            self.drop()

    def ping_within(self, timeout_s: float) -> None:
        """Ask for a sign of life."""
        self._ask_within(self.ping_steps(), timeout_s)

    def ask_rows(self, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement that is none of the task's; psycopg begins no transaction for it."""
        rows: list[tuple[Any, ...]] = self._ask_within(self.row_steps(statement), timeout_s)
        return rows

    def ask_identity(self, timeout_s: float) -> str:
        """Ask the server which process of its serves this session."""
        rows = self.ask_rows("SELECT pg_backend_pid()", timeout_s)
        if not rows:
            self.drop()
            raise psycopg.OperationalError("the server's answer was a last word")
        return str(rows[0][0])

    def is_as_opened(self) -> bool:
        """Tell whether `restore` has nothing to do, and nothing is half done."""
        pgconn = self.pgconn
        return (
            not self.session.pending
            and pgconn.transaction_status == _IDLE
            and pgconn.pipeline_status == pq.PipelineStatus.OFF
            and not self.lock.locked()
            and not self._num_transactions
            and not self._tpc
            and not self._notice_handlers
            and not self._notify_handlers
            and not getattr(self, "_notifies_backlog", None)
            and _client_state(self) == self._at_open
        )

    def restore(self) -> None:
        """Put back what a task may have changed in the client, and forget what only it was to hear."""
        if _client_state(self) != self._at_open:
            for name, value in zip(_CLIENT_STATE, self._at_open, strict=True):
                setattr(self, name, value)
            self._begin_statement = b""
        self._notice_handlers.clear()
        self._notify_handlers.clear()
        backlog = getattr(self, "_notifies_backlog", None)  # psycopg >= 3.2.4
        if backlog:
            backlog.clear()

    def reset_within(self, timeout_s: float) -> None:
        """
        Clear the server's session, and with it psycopg's list of prepared statements.

        Source:
            Experiment: without ``prepare=False`` psycopg goes on with statements that are gone. With it, too, if it has
            seen the command before: it looks at the answers to new ones only.
        """
        sent, autocommit = self.session.sent, self._autocommit
        self._autocommit, self._deadline = True, _monotonic() + timeout_s
        try:
            psycopg.Cursor(self).execute("DISCARD ALL", prepare=False)
            self._prepared.clear()
            self._prepared._to_flush.clear()  # noqa: SLF001 -- what it would deallocate is gone
        except NoAnswerError:
            self.drop()
            raise
        finally:
            self._autocommit, self._deadline = autocommit, None
            self.session.sent = sent

    def quit(self, _: float = 0) -> None:
        """Say goodbye and close; libpq does not wait here, and says nothing if something is in flight."""
        if not self.closed and self.is_busy():
            self.drop()
        super().close()

    # -- private -----------------------------------------------------------------------------------------

    def _ask_within(self, steps: Generator[Any, Any, Any], timeout_s: float) -> Any:
        try:
            return self.exchange_within(steps, _monotonic() + timeout_s)
        except psycopg.Error:
            self.drop()
            raise

    def _refuse(self, verb: str) -> None:
        self.refuse_others()
        if self.session.refusal is not None:
            self.session.refusal(verb)

    def _make_ready(self, verb: str, deadline: float) -> int:
        """
        See to it that *verb* can be sent; gives the transaction's status, as the server said last.

        Raises:
            psycopg.Error: It can't, and was not.
        """
        pgconn = self.pgconn
        if pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(f"connection is closed, {verb} was not sent")
        try:
            if pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.exchange_within(self.drain_steps(), deadline)
            seen = self._lookout.peek(pgconn.socket)
            if seen is not Peek.QUIET:
                pgconn.consume_input()  # a notification, or a last word
                if seen is Peek.DEAD:
                    raise psycopg.OperationalError("connection was lost")
            if pgconn.pipeline_status != pq.PipelineStatus.OFF:
                raise psycopg.OperationalError("a pipeline was left open")
        except psycopg.Error as error:
            self.drop()
            raise psycopg.OperationalError(f"{error}; {verb} was not sent") from error
        if self._num_transactions or self._tpc:
            raise psycopg.ProgrammingError(f"a transaction block was left open; {verb} was not sent")
        status: int = pgconn.transaction_status
        if status == pq.TransactionStatus.INERROR and verb == "COMMIT":
            # The server would answer ROLLBACK, and psycopg would not say so.
            words = (
                "a statement failed and its error was swallowed, so the server can only roll back; COMMIT was not sent"
            )
            raise psycopg.errors.InFailedSqlTransaction(words)
        return status
