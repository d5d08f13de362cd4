"""PyMySQL's connection as a task gets it, and as the driver settles it; its guard stands in `_guarded.py`."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pymysql import err
from pymysql.constants import COMMAND, CR, SERVER_STATUS

from ..._process import getpid
from ..._server_errors import is_undone, undone_words
from ...driver import Peek, Session
from ._guarded import GuardedConnection
from ._tls import Tls

__all__ = ["Connection"]

T = TypeVar("T")
_monotonic = time.monotonic

#: An OK packet of nothing but status and warnings: the payload's length, its number, OK, no rows, no id.
_OK_HEAD = b"\7\0\0\1\0\0\0"
_OK_LENGTH = len(_OK_HEAD) + 4

#: Whole packets: length, number 0, COM_QUERY.
_SETTLING = {
    verb: bytes((len(verb) + 1, 0, 0, 0, COMMAND.COM_QUERY)) + verb.encode() for verb in ("COMMIT", "ROLLBACK")
}


class Connection(GuardedConnection):
    """A PyMySQL connection that counts statements, and asks before a task settles by hand what is not its own."""

    # Private parts of the base class, which its types leave out.
    _execute_command: Callable[[int, str | bytes], None]
    _next_seq_id: int
    _read_ok_packet: Callable[[], Any]

    def __init__(self, session: Session, tls: Tls, timeout_s: float, arguments: dict[str, Any]) -> None:
        super().__init__(session, tls, timeout_s, arguments)
        self._at_open = (self.get_autocommit(), self.cursorclass, self.charset, self.collation)

    # -- what the task calls -----------------------------------------------------------------------------

    def query(self, sql: str | bytes, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002 -- PyMySQL's signature
        """Send *sql* and read its reply. Every cursor comes through here."""
        if isinstance(sql, str):
            sql = sql.encode(self.encoding)  # may fail, and nothing is in flight yet
        self.session.sent += 1  # as in `_statement`
        return self.exchange(super().query, sql, unbuffered)

    def next_result(self, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002 -- PyMySQL's signature
        """Read the next result set."""
        return self.exchange(super().next_result, unbuffered)

    def begin(self) -> None:
        """Begin a transaction by hand."""
        self._refuse("begin")
        self._statement(super().begin)

    def commit(self) -> None:
        """Commit by hand: from here on the lease has nothing to settle, if the server agrees."""
        self._refuse("commit")
        self.exchange(super().commit)
        self._forget_statements()

    def rollback(self) -> None:
        """Roll back by hand. After an interrupt the server does, and the interrupt is not to be masked."""
        if self.session.interrupt and self.session.owner_pid == getpid():
            return
        self._refuse("rollback")
        self.exchange(super().rollback)
        self._forget_statements()

    def autocommit(self, value: bool | None) -> None:  # noqa: FBT001 -- PyMySQL's signature
        """Switch autocommit, which commits what is open."""
        self._refuse("autocommit")
        super().autocommit(value)

    def _send_autocommit_mode(self) -> None:
        self._statement(super()._send_autocommit_mode)  # type: ignore[misc]  # private: no types

    def show_warnings(self) -> Any:
        """Ask for the last statement's warnings."""
        return self._statement(super().show_warnings)

    def select_db(self, db: str | bytes) -> None:
        """Change the database."""
        self._statement(super().select_db, db)

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Change the connection's character set."""
        self._statement(super().set_character_set, charset, collation)

    def ping(self, reconnect: bool = False) -> None:  # type: ignore[override]  # noqa: FBT001, FBT002 -- PyMySQL's
        """Ask for a sign of life; it never reconnects, for that would lose the transaction."""
        self.exchange(super().ping, False)  # noqa: FBT003 -- PyMySQL's

    def close(self) -> None:
        """Close by hand: the server rolls back. An inherited connection is left alone."""
        session = self.session
        if session.owner_pid != getpid():
            return
        if session.refusal is not None:
            session.refusal("close")
        session.closed_by_hand = True
        self.say_goodbye()

    # -- what the driver calls ---------------------------------------------------------------------------

    def settle(self, verb: str, timeout_s: float) -> None:
        """
        Send *verb*, COMMIT or ROLLBACK, if it can be sent at all.

        Raises:
            pymysql.err.MySQLError: `Session.pending` is True afterwards if *verb* was sent and never answered.
        """
        if self._sock is None:
            raise err.InterfaceError(0, f"connection is closed, {verb} was not sent")
        if self.session.pending:
            self._force_close()
            raise err.OperationalError(CR.CR_COMMANDS_OUT_OF_SYNC, f"a reply is pending, {verb} was not sent")
        result = self._result
        if result is not None and (result.unbuffered_active or result.has_next):
            deadline = _monotonic() + timeout_s
            with self.bounded(timeout_s):
                self._drain(deadline)
        if self._lookout.peek(self._sock.fileno()) is not Peek.QUIET:
            self._force_close()
            raise err.OperationalError(CR.CR_SERVER_LOST, f"connection was lost before {verb} was sent")
        if (
            self.session.undone
            and verb == "COMMIT"
            and is_undone(self.session, lambda ask: self.ask_rows(ask, timeout_s))
        ):
            raise err.OperationalError(self.session.undone, undone_words(self.session.undone))
        self.exchange(self._settle_within, verb, timeout_s)

    def is_in_transaction(self) -> bool:
        """
        Repeat what the server said last of an open transaction.

        Source:
            Experiment: only what returns no rows refreshes it, so that with autocommit off it misses what SELECT opens.
        """
        return bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def ping_within(self, timeout_s: float) -> None:
        """Ask for a sign of life, within *timeout_s*."""
        with self.bounded(timeout_s):
            self.ping()

    def ask_rows(self, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement that is none of the task's, within *timeout_s*, and give its rows."""
        with self.bounded(timeout_s):
            self.exchange(super().query, statement.encode())
        result: Any = self._result
        return list(result.rows or ()) if result is not None else []

    def ask_identity(self, timeout_s: float) -> str:
        """Ask the server which session this is, within *timeout_s*."""
        rows = self.ask_rows("SELECT CONNECTION_ID()", timeout_s)
        return str(rows[0][0]) if rows else ""

    def restore(self) -> None:
        """Put back what a task may have changed in the client; autocommit needs a statement for it."""
        autocommit, self.cursorclass, _, _ = self._at_open
        self.autocommit_mode = autocommit
        if self.get_autocommit() != autocommit:
            self._send_autocommit_mode()

    def is_as_opened(self) -> bool:
        """Tell whether `restore` has nothing to do, and nothing is left to be read."""
        autocommit, cursor_class, _, _ = self._at_open
        result = self._result
        return (
            self._sock is not None
            and not self.session.pending
            and self.autocommit_mode == autocommit
            and bool(self.server_status & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT) == autocommit
            and self.cursorclass is cursor_class
            and (result is None or not (result.unbuffered_active or result.has_next))
        )

    def reset_within(self, timeout_s: float) -> None:
        """
        Clear the server's session with COM_RESET_CONNECTION, and set again what that clears but the URL asked for.

        Source:
            Experiment: it sets autocommit to the server's default, 1, and leaves the database as it is.
        """
        _, _, charset, collation = self._at_open
        with self.bounded(timeout_s):
            self.exchange(self._command, COMMAND.COM_END, b"")  # 0x1f, COM_RESET_CONNECTION; PyMySQL's name is older
            if self.db:
                self.select_db(self.db)
            self.set_character_set(charset, collation)
            self.restore()
            for statement in (self.sql_mode and f"SET sql_mode={self.escape(self.sql_mode)}", self.init_command):
                if statement:
                    self.query(statement)
        self.session.sent = 0

    def quit(self, timeout_s: float) -> None:
        """Say goodbye and close."""
        if not self._closed:
            with self.bounded(timeout_s):
                self.say_goodbye()

    def drop(self) -> None:
        """Shut the socket, so that a thread that still reads from it wakes up, then close without a word."""
        sock = self._sock
        if sock is not None and self.session.owner_pid == getpid():
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._force_close()

    @contextlib.contextmanager
    def bounded(self, timeout_s: float) -> Iterator[None]:
        """Limit each wait for the server to *timeout_s* for a while."""
        timeouts = self._read_timeout, self._write_timeout
        self._read_timeout = self._write_timeout = timeout_s
        try:
            yield
        finally:
            self._read_timeout, self._write_timeout = timeouts

    # -- private -----------------------------------------------------------------------------------------

    def _statement(self, send: Callable[..., T], *arguments: Any) -> T:
        """Count a statement, and make the exchange with the server that it is."""
        self.session.sent += 1
        return self.exchange(send, *arguments)

    def _refuse(self, verb: str) -> None:
        self.refuse_others()
        if self.session.refusal is not None:
            self.session.refusal(verb)

    def _command(self, command: int, payload: bytes) -> None:
        self._execute_command(command, payload)
        self._read_ok_packet()

    def _settle_within(self, verb: str, timeout_s: float) -> None:
        """
        Send *verb* and read its reply within *timeout_s*, without a change of the socket's own timeout if possible.

        What the reply of a COMMIT nearly always is, is read without PyMySQL, which takes longer than all of the rest.
        """
        sock: Any = self._sock
        if type(sock) is not socket.socket:  # TLS: what comes may be none of the reply
            with self.bounded(timeout_s):
                self._command(COMMAND.COM_QUERY, verb.encode())
            return
        self._result, self._next_seq_id = None, 1
        self._write_bytes(_SETTLING[verb])
        if not self._lookout.wait(sock.fileno(), timeout_s):
            self._force_close()
            words = f"Lost connection to MySQL server during query (no answer within {timeout_s:.1f} s)"
            raise err.OperationalError(CR.CR_SERVER_LOST, words)
        reply = self._rfile.peek()  # what is there already; one system call at most
        if len(reply) == _OK_LENGTH and reply.startswith(_OK_HEAD):
            self._rfile.read(_OK_LENGTH)
            self.server_status = int.from_bytes(reply[7:9], "little")
            return
        with self.bounded(timeout_s):
            self._read_ok_packet()

    def _forget_statements(self) -> None:
        """
        Count from zero, for nothing is left to settle.

        Not so where the server began a new transaction at once (``completion_type=CHAIN``), or `restore` has work.
        """
        self.session.undone = 0
        if not self.is_in_transaction() and not self._is_changed():
            self.session.sent = 0
            self.session.settled_by_hand = True

    def _is_changed(self) -> bool:
        autocommit, cursor_class, _, _ = self._at_open
        return self.get_autocommit() != autocommit or self.cursorclass is not cursor_class

    def _drain(self, deadline: float) -> None:
        """Read what the task left unread on purpose, so that the next command can be sent."""
        while self.has_unread():
            if _monotonic() > deadline:
                self._force_close()
                raise err.OperationalError(CR.CR_SERVER_LOST, "unread rows could not be read in time")
            if self._result.unbuffered_active:
                self._result._read_rowdata_packet_unbuffered()  # noqa: SLF001 -- our own class
            else:
                self.next_result(unbuffered=True)
