"""psycopg2's connection as a task gets it, and as the driver settles it; its guard stands in `_guarded.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2 import extensions as ext

from ..._watchdog import Deadline
from ...driver import Peek, Session, peek
from ._guarded import GuardedConnection

__all__ = ["Connection"]

_Base: Any = ext.connection

#: What a task may change in the client.
_CLIENT_STATE = ("autocommit", "isolation_level", "readonly", "deferrable")
#: Longest wait where switching back one of these needs a statement, in seconds.
_RESTORE_S = 5.0


def _counted(name: str) -> Any:
    """Make an attribute whose change counts as a statement although it sends nothing, so that it is put back."""
    base = getattr(_Base, name)

    def change(self: Connection, value: Any) -> None:
        if name == "autocommit":
            self.refuse(name)
        self.exchange(base.__set__, self, value)

    return property(base.__get__, change, doc=base.__doc__)


class Connection(GuardedConnection):
    """A psycopg2 connection that counts statements, and asks before a task settles by hand what is not its own."""

    autocommit = _counted("autocommit")
    isolation_level = _counted("isolation_level")
    readonly = _counted("readonly")
    deferrable = _counted("deferrable")

    def __init__(self, dsn: str, session: Session, settings: dict[str, Any]) -> None:
        super().__init__(dsn, session)
        self.cursor_factory: Any = settings.get("cursor_factory")
        if settings.get("autocommit"):
            _Base.autocommit.__set__(self, True)  # noqa: FBT003 -- a value
        self._at_open = self._client_state()
        session.sent = 0

    # -- what the task calls -----------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit by hand."""
        self.refuse("commit")
        self.exchange(super().commit)

    def rollback(self) -> None:
        """Roll back by hand. After an interrupt the server does, and the interrupt is not to be masked."""
        if self.session.interrupt and not self.is_inherited():
            return
        self.refuse("rollback")
        self.exchange(super().rollback)

    def reset(self) -> None:
        """Roll back by hand, and clear the session."""
        self.refuse("reset")
        self.exchange(super().reset)

    def set_session(self, *arguments: Any, **named: Any) -> None:
        """Change how transactions begin."""
        self.refuse("set_session")
        self.exchange(super().set_session, *arguments, **named)

    def set_isolation_level(self, level: int | None) -> None:
        """Change how transactions begin; rolls back what is open."""
        self.refuse("set_isolation_level")
        self.exchange(super().set_isolation_level, level)

    def set_client_encoding(self, encoding: str) -> None:
        """Change the encoding; rolls back what is open."""
        self.refuse("set_client_encoding")
        self.exchange(super().set_client_encoding, encoding)

    def lobject(self, *arguments: Any, **named: Any) -> Any:
        """Open a large object."""
        return self.exchange(super().lobject, *arguments, **named)

    def tpc_begin(self, *arguments: Any) -> None:
        """Begin a transaction of two phases."""
        self.refuse("tpc_begin")
        self.exchange(super().tpc_begin, *arguments)

    def tpc_prepare(self) -> None:
        """Prepare it."""
        self.exchange(super().tpc_prepare)

    def tpc_commit(self, *arguments: Any) -> None:
        """Commit it."""
        self.exchange(super().tpc_commit, *arguments)

    def tpc_rollback(self, *arguments: Any) -> None:
        """Roll it back."""
        self.exchange(super().tpc_rollback, *arguments)

    def poll(self) -> int:
        """Take in notifications."""
        self.refuse_others()
        return super().poll()

    def cancel(self) -> None:
        """Cancel what runs. A child can't: that would be its parent's query."""
        if self.is_inherited():
            self.refuse_others()
        super().cancel()

    def close(self) -> None:
        """Close by hand: the server rolls back. An inherited connection is left alone."""
        if self.is_inherited():
            return
        if self.session.refusal is not None:
            self.session.refusal("close")
        self.session.closed_by_hand = True
        _Base.close(self)

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_inherited():
            return
        if self.session.refusal is None or exception is None or isinstance(exception, Exception):
            super().__exit__(kind, exception, traceback)  # else the process is to end, and the lease with it

    # -- what the driver calls ---------------------------------------------------------------------------

    def settle(self, verb: str, timeout_s: float) -> None:
        """
        Send *verb*, COMMIT or ROLLBACK, if there is something to settle, and if it can be sent at all.

        Raises:
            psycopg2.Error: `Session.pending` is True afterwards if *verb* was sent and never answered.
        """
        self._make_ready(verb)
        if self.is_at_rest():
            return
        session = self.session
        session.pending = True
        deadline = Deadline(self.fileno(), timeout_s)
        try:
            with deadline:
                self.watch(self._settle, verb)
        except psycopg2.Error as error:
            if not self.closed and not self.is_busy():
                session.pending = False  # refused
                raise
            self.drop()
            if deadline.has_passed:
                raise psycopg2.OperationalError(f"the server did not answer {verb} in time") from error
            raise
        session.pending = False
        if (
            deadline.has_passed
        ):  # it was settled in that very moment: the socket is shut, and of no use to the next lease
            self.drop()

    def ping_within(self, timeout_s: float) -> None:
        """Ask for a sign of life, without beginning a transaction."""
        self.ask_identity(timeout_s)

    def ask_identity(self, timeout_s: float) -> str:
        """Ask the server which process of its serves this session, without beginning a transaction."""
        return str(self.ask_rows("SELECT pg_backend_pid()", timeout_s)[0][0])

    def ask_rows(self, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement that is none of the task's, without beginning a transaction."""
        with self._bounded(timeout_s):
            return self.watch(self._ask, statement)

    def restore(self) -> None:
        """Put back what a task may have changed in the client, and forget what only it was to hear."""
        if self._client_state() != self._at_open:
            with self._bounded(_RESTORE_S):
                for name, value in zip(_CLIENT_STATE, self._at_open, strict=False):
                    if getattr(self, name) != value:
                        self.watch(getattr(_Base, name).__set__, self, value)
            self.cursor_factory = self._at_open[-1]
        del self.notices[:]
        del self.notifies[:]

    def reset_within(self, timeout_s: float) -> None:
        """Clear the server's session; psycopg2 then forgets what it was told, autocommit for one."""
        with self._bounded(timeout_s):
            self.watch(_Base.reset, self)
        self.restore()

    def quit(self, timeout_s: float) -> None:
        """Say goodbye and close."""
        if self.closed:
            return
        if self.is_busy():
            self.drop()
        with contextlib.suppress(psycopg2.Error), Deadline(self.fileno(), timeout_s):
            _Base.close(self)

    # -- private -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _bounded(self, timeout_s: float) -> Iterator[None]:
        """Shut the socket if the block takes longer; a connection whose socket was shut is closed, come what may."""
        deadline = Deadline(self.fileno(), timeout_s)
        try:
            with deadline:
                yield
        finally:
            if deadline.has_passed:
                self.drop()

    def _client_state(self) -> tuple[Any, ...]:
        return (*[getattr(self, name) for name in _CLIENT_STATE], self.cursor_factory)

    def _make_ready(self, verb: str) -> None:
        """
        See to it that *verb* can be sent.

        Raises:
            psycopg2.Error: It can't, and was not.
        """
        if self.closed:
            raise psycopg2.OperationalError(f"connection is closed, {verb} was not sent")
        seen = peek([self.fileno()])
        if self.is_busy() or seen is Peek.DEAD:
            what = "a reply was left half read" if self.is_busy() else "connection was lost"
            self.drop()
            raise psycopg2.OperationalError(f"{what}; {verb} was not sent")
        if verb == "COMMIT" and self.transaction() == ext.TRANSACTION_STATUS_INERROR:
            # The server would answer ROLLBACK, and psycopg2 would not say so.
            words = (
                "a statement failed and its error was swallowed, so the server can only roll back; COMMIT was not sent"
            )
            raise psycopg2.errors.InFailedSqlTransaction(words)

    def _settle(self, verb: str) -> None:
        (_Base.commit if verb == "COMMIT" else _Base.rollback)(self)
        if (
            self.transaction() != ext.TRANSACTION_STATUS_IDLE
        ):  # begun by a statement of the task's: psycopg2 did nothing
            ext.cursor(self).execute(verb)
            if self.status != ext.STATUS_READY:
                _Base.rollback(self)

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        is_to_switch = self.status == ext.STATUS_READY and not self.autocommit
        if is_to_switch:
            _Base.autocommit.__set__(self, True)  # noqa: FBT003 -- a value
        try:
            cursor: Any = ext.cursor(self)
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            if is_to_switch and not self.closed:
                _Base.autocommit.__set__(self, False)  # noqa: FBT003 -- as above
