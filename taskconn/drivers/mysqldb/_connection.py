"""The connection as a task gets it, and as the driver settles it; how it speaks stands in `_wire.py`."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from MySQLdb.constants import CR

from ..._interruptible import guarded_class
from ..._server_errors import is_undone, undone_words
from ...driver import Peek, Session
from ._cursor import guard_of
from ._wire import TELLS_MORE, WireConnection, errors

__all__ = ["Connection"]

_monotonic = time.monotonic


class Connection(WireConnection):
    """A mysqlclient connection that counts statements, and asks before a task settles by hand what is not its own."""

    def __init__(self, session: Session, timeout_s: float, arguments: dict[str, Any]) -> None:
        super().__init__(session, timeout_s, arguments)
        self._credentials = [arguments.get(name) or "" for name in ("user", "password", "database")]
        self._wanted = {name: arguments.get(name) for name in ("collation", "sql_mode", "init_command")}
        self._at_open = self.get_autocommit(), self.cursorclass, self.character_set_name()
        #: A class that was asked for, and the one that cursors get then.
        self._cursor_classes: tuple[Any, Any] = (None, None)

    # -- what the task calls -----------------------------------------------------------------------------

    def cursor(self, cursorclass: Any = None) -> Any:
        """Make a cursor, of a class that asks under this connection's guard."""
        wanted, classes = cursorclass or self.cursorclass, self._cursor_classes
        if wanted is not classes[0]:
            classes = self._cursor_classes = wanted, guarded_class(wanted, guard_of(wanted))
        return classes[1](self)

    def query(self, query: str | bytes | bytearray) -> None:
        """Send *query* and read the head of its reply. Every cursor comes through here."""
        self.session.sent += 1
        if self.is_guarded:
            self.ask(query)
            return
        self.exchange(self.ask, query)
        # A reply that nobody fetches would be the next question's.
        self.session.pending = self.session.pending or self._is_unfetched()

    def commit(self) -> None:
        """Commit by hand: from here on the lease has nothing to settle."""
        self.refuse("commit")
        self.exchange(self.ask, b"COMMIT")
        self._forget_statements()

    def rollback(self) -> None:
        """Roll back by hand. After an interrupt the server does, and the interrupt is not to be masked."""
        if self.session.interrupt and not self.is_inherited():
            return
        self.refuse("rollback")
        self.exchange(self.ask, b"ROLLBACK")
        self._forget_statements()

    def autocommit(self, on: bool) -> None:  # noqa: FBT001 -- mysqlclient's signature
        """Switch autocommit, which commits what is open."""
        self.refuse("autocommit")
        if bool(on) != bool(self.get_autocommit()):
            self.statement(self.ask, b"SET autocommit=%d" % bool(on))

    def begin(self) -> None:
        """Begin a transaction by hand."""
        self.refuse("begin")
        self.query(b"BEGIN")

    def close(self) -> None:
        """Close by hand: the server rolls back. An inherited connection is left alone."""
        if self.is_inherited():
            return
        if self.session.refusal is not None:
            self.session.refusal("close")
        self.session.closed_by_hand = True
        super().close()

    # -- what the driver calls ---------------------------------------------------------------------------

    def settle(self, verb: str, timeout_s: float) -> None:
        """
        Send *verb*, COMMIT or ROLLBACK, if it can be sent at all.

        Raises:
            MySQLdb.MySQLError: `Session.pending` is True afterwards if *verb* was sent and never answered.
        """
        if not self.is_at_rest():
            if not self.is_open():
                raise errors.InterfaceError(0, f"connection is closed, {verb} was not sent")
            if self.session.pending:
                self.drop()
                words = f"a reply is pending, {verb} was not sent"
                raise errors.OperationalError(CR.COMMANDS_OUT_OF_SYNC, words)
            if self.has_unread() or not TELLS_MORE:  # before 2.3 only asking for more can tell
                deadline = _monotonic() + timeout_s
                self._drain(deadline)
                timeout_s = deadline - _monotonic()
        if (
            self.session.undone
            and verb == "COMMIT"
            and is_undone(self.session, lambda ask: self.ask_rows(ask, timeout_s))
        ):
            raise errors.OperationalError(self.session.undone, undone_words(self.session.undone))
        if self.lookout.peek(self.descriptor() if self._socket is None else self._socket.fd) is not Peek.QUIET:
            self.drop()
            raise errors.OperationalError(CR.SERVER_LOST, f"connection was lost before {verb} was sent")
        self.exchange(self.ask, verb, timeout_s)

    def ping_within(self, timeout_s: float) -> None:
        """Ask for a sign of life, within *timeout_s*. The library's own ping can't be bounded."""
        self.exchange(self.ask, b"DO 0", timeout_s)

    def ask_rows(self, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement that is none of the task's, within *timeout_s*, and give its rows."""
        with self.bounded(timeout_s):
            self.exchange(self.ask, statement, timeout_s)
            result = self.store_result()
        return list(result.fetch_row(0)) if result is not None else []

    def ask_identity(self, timeout_s: float) -> str:
        """Ask the server which session this is, within *timeout_s*."""
        rows = self.ask_rows("SELECT CONNECTION_ID()", timeout_s)
        return str(rows[0][0]) if rows else ""

    def restore(self) -> None:
        """Put back what a task may have changed in the client; autocommit needs a statement for it."""
        autocommit, self.cursorclass, _ = self._at_open
        if self.get_autocommit() != autocommit:
            self.exchange(self.ask, b"SET autocommit=%d" % autocommit)

    def is_as_opened(self) -> bool:
        """Tell whether `restore` has nothing to do, and nothing is left to be read."""
        autocommit, cursor_class, _ = self._at_open
        return self.is_at_rest() and self.cursorclass is cursor_class and self.get_autocommit() == autocommit

    def reset_within(self, timeout_s: float) -> None:
        """
        Clear the server's session by logging in anew on the same connection, and set again what the URL asked for.

        Source:
            Experiment: this leaves autocommit at the server's default, 1, and runs no `init_command`.
        """
        autocommit, _, charset = self._at_open
        deadline = _monotonic() + timeout_s
        with self.bounded(timeout_s):
            self.exchange(self.touching, self.stock.change_user, self, *self._credentials)
            self.exchange(self.stock.set_character_set, self, charset)
        if collation := self._wanted["collation"]:
            self.exchange(self.ask, f"SET NAMES {charset} COLLATE {collation}", deadline - _monotonic())
        if sql_mode := self._wanted["sql_mode"]:
            self.exchange(self.ask, f"SET SESSION sql_mode='{sql_mode}'", deadline - _monotonic())
        self.exchange(self.ask, b"SET autocommit=%d" % autocommit, deadline - _monotonic())
        if command := self._wanted["init_command"]:
            self.exchange(self.ask, command, deadline - _monotonic())
            self._drain(deadline)
        self.session.sent = 0

    def quit(self, _: float = 0) -> None:
        """Say goodbye and close; a peer that takes nothing more is not waited for."""
        if not self.is_open():
            return
        if self.session.pending or self.is_inherited():
            self.drop()
            return
        self.unread = None
        with contextlib.suppress(*self.library_errors):
            super().close()

    # -- private -----------------------------------------------------------------------------------------

    def _forget_statements(self) -> None:
        """Nothing is left to settle, but the session may be to be reset."""
        self.session.sent = self.session.undone = 0
        self.session.settled_by_hand = True

    def _drain(self, deadline: float) -> None:
        """Read what the task left unread on purpose, so that the next command can be sent."""
        with self.bounded(deadline - _monotonic()):
            self.drain(self.read_unread)
