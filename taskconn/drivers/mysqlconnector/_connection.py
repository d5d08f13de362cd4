"""The connection as a task gets it, and as the driver settles it; how it speaks stands in `_wire.py`."""

from __future__ import annotations

import contextlib
from typing import Any, NoReturn

from mysql.connector import errors

from ..._server_errors import is_undone, undone_words
from ...driver import Peek, Session, peek
from ._socket import Tls
from ._wire import WireConnection

__all__ = ["Connection"]


class Connection(WireConnection):
    """A connection that counts statements, and asks before a task settles by hand what is not its own."""

    def __init__(self, session: Session, tls: Tls, timeout_s: float, arguments: dict[str, Any]) -> None:
        super().__init__(session, tls, timeout_s, arguments)
        self._at_open = self.has_autocommit

    # -- what the task calls -----------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit by hand: from here on the lease has nothing to settle, if the server agrees."""
        self.refuse("commit")
        self.forget_abandoned()
        super().cmd_query("COMMIT")
        self._forget_statements()

    def rollback(self) -> None:
        """Roll back by hand. After an interrupt the server does, and the interrupt is not to be masked."""
        if self.session.interrupt and not self.is_inherited():
            return
        self.refuse("rollback")
        if self.unread_result:
            self.exchange(self.read_unread)  # as the library does
        super().cmd_query("ROLLBACK")
        self._forget_statements()

    def start_transaction(self, *arguments: Any, **named: Any) -> None:
        """Begin a transaction by hand."""
        self.refuse("start_transaction")
        super().start_transaction(*arguments, **named)

    @property
    def autocommit(self) -> bool:
        """Does every statement commit by itself?"""
        found = self.info_query("SELECT @@session.autocommit")
        return found is not None and bool(found[0])

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.refuse("autocommit")
        self.cmd_query(f"SET @@session.autocommit = {'ON' if value else 'OFF'}")
        self._autocommit = value

    def close(self) -> None:
        """Close by hand: the server rolls back. An inherited connection is left alone."""
        if self.is_inherited():
            return
        if self._is_opening:
            super().close()
        elif self.session.pending:
            self.drop()  # the library, in the middle of an exchange that took too long
        else:
            if self.session.refusal is not None:
                self.session.refusal("close")
            self.session.closed_by_hand = True
            super().close()

    disconnect = close

    def shutdown(self) -> None:  # type: ignore[override]  # its types say that it never returns
        """Close by hand, without a goodbye."""
        if self.is_inherited():
            return
        if self.session.refusal is not None:
            self.session.refusal("shutdown")
        self.session.closed_by_hand = True
        self.drop()

    def connect(self, **arguments: Any) -> None:
        """Connect once: another session would not have what this one has begun."""
        if not self._is_opening:
            self.reconnect()
        super().connect(**arguments)

    def reconnect(self, attempts: int = 1, delay: int = 0) -> NoReturn:
        """Refuse: another session would not have what this one has begun."""
        raise errors.NotSupportedError(
            f"connection {self.session.alias!r} is opened once; take a new lease for another"
        )

    # -- what the driver calls ---------------------------------------------------------------------------

    def settle(self, verb: str, timeout_s: float) -> None:
        """
        Send *verb*, COMMIT or ROLLBACK, if it can be sent at all.

        Raises:
            mysql.connector.errors.Error: `Session.pending` is True afterwards if *verb* was sent and never answered.
        """
        if not self.is_open():
            raise errors.InterfaceError(f"connection is closed, {verb} was not sent")
        if self.session.pending:
            self.drop()
            raise errors.InternalError(f"a reply is pending, {verb} was not sent")
        with self.bounded(timeout_s):
            if self.has_unread():
                self.drain(self.read_unread)
            if peek(self.descriptors()) is not Peek.QUIET:
                self.drop()
                raise errors.OperationalError(f"connection was lost before {verb} was sent", errno=2013)
            if self.session.undone and verb == "COMMIT" and is_undone(self.session, self._rows_of):
                raise errors.InternalError(undone_words(self.session.undone), errno=self.session.undone)
            self.ask(verb)

    def ask(self, query: str) -> None:
        """Send what is no statement of the task's."""
        self.exchange(super(WireConnection, self).cmd_query, query)

    def ping_within(self, timeout_s: float) -> None:
        """Ask for a sign of life, within *timeout_s*."""
        with self.bounded(timeout_s):
            self.cmd_ping()

    def ask_rows(self, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement that is none of the task's, within *timeout_s*, and give its rows."""
        with self.bounded(timeout_s):
            return self._rows_of(statement)

    def ask_identity(self, timeout_s: float) -> str:
        """Ask the server which session this is, within *timeout_s*."""
        rows = self.ask_rows("SELECT CONNECTION_ID()", timeout_s)
        return str(rows[0][0]) if rows else ""

    def restore(self) -> None:
        """Put back what a task may have changed in the client; autocommit needs a statement for it."""
        if self.has_autocommit != self._at_open:
            self.ask(f"SET @@session.autocommit = {'ON' if self._at_open else 'OFF'}")
        self._autocommit = self._at_open

    def reset_within(self, timeout_s: float) -> None:
        """
        Clear the server's session with COM_RESET_CONNECTION, and set again what that clears but the URL asked for.

        Source:
            Experiment: it sets autocommit to the server's default, 1, and leaves the database as it is. The library's
            own method asks the server's version first, and takes MariaDB for MySQL 5.5.
        """
        self._autocommit = self._at_open
        with self.bounded(timeout_s):
            self.exchange(self._reset_connection)
            if self._database:
                self.cmd_init_db(self._database)
            self._post_connection()
            if self.has_unread():
                self.exchange(self.read_unread)  # of an init_command
        self.session.sent = 0

    def quit(self, timeout_s: float) -> None:
        """Say goodbye and close."""
        if self.is_inherited() or self.session.pending or self.has_unread():
            self.drop()
        elif self.is_open():
            with self.bounded(timeout_s), contextlib.suppress(errors.Error, OSError):
                super().close()

    # -- private -----------------------------------------------------------------------------------------

    def _rows_of(self, statement: str) -> list[tuple[Any, ...]]:
        self.ask(statement)
        rows = self.get_rows(raw=True)[0] if self.unread_result else []
        return [tuple(None if value is None else bytes(value).decode() for value in row) for row in rows]

    def _forget_statements(self) -> None:
        """Nothing is left to settle, unless the server began a new transaction at once (``completion_type=CHAIN``)."""
        self.session.undone = 0
        if not self.in_transaction:
            self.session.sent = 0
            self.session.settled_by_hand = True
