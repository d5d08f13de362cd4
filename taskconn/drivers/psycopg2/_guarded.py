"""The guard of a psycopg2 connection: it knows its process, what is in flight, and what interrupted it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2
from psycopg2 import extensions as ext

from ..._process import getpid
from ..._server_errors import hear_limit
from ..._watchdog import shut
from ...driver import Session
from ...errors import InheritedConnectionError, TaintedConnectionError
from ._cursor import guarded

__all__ = ["GuardedConnection"]

T = TypeVar("T")
_IDLE, _ACTIVE = ext.TRANSACTION_STATUS_IDLE, ext.TRANSACTION_STATUS_ACTIVE
_AT_REST = (_IDLE, ext.TRANSACTION_STATUS_INTRANS, ext.TRANSACTION_STATUS_INERROR)


class GuardedConnection(ext.connection):
    """
    A connection of one process, dropped when anything but psycopg2's own error strikes while a reply is due.

    psycopg2 waits in C, so most interrupts strike after the reply, and leave the connection as it was.
    """

    def __init__(self, dsn: str, session: Session) -> None:
        self.session = session  # first: a wait callback polls while connecting
        super().__init__(dsn)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Connection {self.session.alias!r} of process {self.session.owner_pid}, {state}>"

    def exchange(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """
        Count a statement, and make the exchange with the server that it is.

        Raises:
            InheritedConnectionError: Another process opened this connection. Nothing has been sent.
            TaintedConnectionError: An exchange was interrupted before. Nothing has been sent.
        """
        self.refuse_others()
        self.session.sent += 1
        return self.watch(call, *arguments, **named)

    def watch(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Make an exchange of taskconn's own, which is no statement; note what interrupts it."""
        try:
            return call(*arguments, **named)
        except psycopg2.Error as error:
            if self.session.deadline is not None:
                hear_limit(self.session.deadline, error)
            raise
        except BaseException as interrupt:
            if self.transaction() not in _AT_REST:
                self.session.interrupt = type(interrupt).__name__
                self.drop()
            raise

    def refuse_others(self) -> None:
        """Refuse a process that does not own this connection, and everybody after an interrupt."""
        session, pid = self.session, getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)
        if session.interrupt:
            raise TaintedConnectionError(session.alias, session.interrupt)

    def refuse(self, verb: str) -> None:
        """Refuse others, and the owner where the lease does not let it settle by hand."""
        self.refuse_others()
        if self.session.refusal is not None:
            self.session.refusal(verb)

    def is_inherited(self) -> bool:
        """Tell whether another process opened this connection."""
        return self.session.owner_pid != getpid()

    def transaction(self) -> int:
        """Tell, without a round trip, what libpq knows: idle, active, in a transaction, in a failed one, or nothing."""
        return self.info.transaction_status

    def is_busy(self) -> bool:
        """Tell whether a reply is due, or half read."""
        return self.transaction() == _ACTIVE

    def is_at_rest(self) -> bool:
        """Tell whether no transaction is open, at the server and as psycopg2 sees it."""
        return self.transaction() == _IDLE and self.status == ext.STATUS_READY

    def drop(self) -> None:
        """Shut the socket, so that whoever waits for it wakes up, then close without a word."""
        if not self.is_inherited():
            with contextlib.suppress(psycopg2.Error):  # closed already
                shut(self.fileno())
            super().close()

    def cursor(self, name: Any = None, cursor_factory: Any = None, **named: Any) -> Any:  # type: ignore[override]  # of any class, made ours
        """Make a cursor, of any class."""
        self.refuse_others()
        factory: Any = cursor_factory or self.cursor_factory
        factory = guarded(factory or ext.cursor)
        if not isinstance(factory, type):
            self.session.sent += 1  # what makes cursors of the task's own, which may not count
        return super().cursor(name, factory, **named)
