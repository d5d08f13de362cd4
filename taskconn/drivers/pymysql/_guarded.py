"""The guard of a PyMySQL connection: it knows its process, what is in flight, and what interrupted it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pymysql.connections
from pymysql import err
from pymysql.constants import CLIENT, CR

from ..._interrupts import strikes
from ..._process import getpid, me, unforked
from ..._server_errors import hear_limit, note_undone
from ..._sockets import Lookout
from ...driver import Session
from ...errors import InheritedConnectionError, TaintedConnectionError
from ._ok import read_ok
from ._tls import Tls

__all__ = ["GuardedConnection"]

T = TypeVar("T")
#: COM_QUIT, with its head.
_QUIT = b"\1\0\0\0\1"
_monotonic = time.monotonic


class _Result(pymysql.connections.MySQLResult):
    """A result whose unread rows are read under the connection's guard, and never by a process that does not own it."""

    connection: GuardedConnection | None
    affected_rows = insert_id = server_status = message = description = rows = has_next = None
    warning_count = field_count = 0
    unbuffered_active: bool = False

    def __init__(self, connection: GuardedConnection) -> None:
        self.connection = connection  # the rest, which the base class sets one by one, is the class's

    def read(self) -> None:
        """Read the whole result."""
        if read_ok(self.connection, self):
            self.connection = None
        else:
            super().read()

    def _read_rowdata_packet_unbuffered(self) -> Any:
        if self.connection is None:
            return None
        return self.connection.exchange(super()._read_rowdata_packet_unbuffered)  # type: ignore[misc]  # private: no types

    def _finish_unbuffered_query(self) -> None:
        connection = self.connection
        if connection is None or connection.is_beyond_use():
            self.unbuffered_active = False  # called by destructors: nothing to read, nothing to raise
            self.connection = None
        else:
            connection.exchange(super()._finish_unbuffered_query)  # type: ignore[misc]  # private: no types


class GuardedConnection(pymysql.connections.Connection):
    """
    A connection of one process, closed at once when anything but PyMySQL's own error interrupts it.

    The stock class answers the next question with the rest of an interrupted reply: 20 to 52 % of interrupts at random
    moments gave a wrong result. `session` says what was sent, and what has not been read.
    """

    # Private parts of the base class, which its types leave out.
    _closed: bool
    _sock: socket.socket | None
    _rfile: Any
    _write_bytes: Callable[[bytes], None]
    _result: Any
    _read_timeout: float | None
    _write_timeout: float | None
    _ssl_required: bool
    server_capabilities: int
    server_status: int

    def __init__(self, session: Session, tls: Tls, timeout_s: float, arguments: dict[str, Any]) -> None:
        self.session = session
        self._tls = tls
        self._lookout = Lookout()
        is_known = tls.is_known(arguments)  # before the constructor, which may make the context
        given = tls.without(arguments) if is_known else arguments
        super().__init__(defer_connect=True, connect_timeout=timeout_s, **given)
        (tls.apply if is_known else tls.learn)(self)
        timeouts = self._read_timeout, self._write_timeout
        self._deadline: float | None = _monotonic() + timeout_s
        try:
            self.connect()
        finally:
            self._deadline = None
        self._read_timeout, self._write_timeout = timeouts
        session.sent = 0

    def __repr__(self) -> str:
        state = "open" if self._sock is not None else "closed"
        return f"<Connection {self.session.alias!r} of process {self.session.owner_pid}, {state}>"

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, TypeError):  # the constructor failed early, or the interpreter ends
            self._force_close()

    @property
    def ctx(self) -> ssl.SSLContext:
        """The TLS context, made by PyMySQL when first needed."""
        if self._tls.context is None:
            self._tls.context = self._create_ssl_ctx({})  # type: ignore[attr-defined]  # private: no types
        return self._tls.context

    @ctx.setter
    def ctx(self, context: ssl.SSLContext) -> None:
        self._tls.context = context

    def is_beyond_use(self) -> bool:
        """Tell whether nothing may be read: closed, interrupted, or another process's."""
        session = self.session
        return self._sock is None or session.interrupt != "" or session.owner_pid != me.pid or not unforked[0]

    def has_unread(self) -> bool:
        """Tell whether rows of an unbuffered cursor, or further result sets, wait to be read."""
        result = self._result
        return result is not None and bool(result.unbuffered_active or result.has_next)

    def connect(self, sock: socket.socket | None = None) -> None:
        """Connect, once, in the process that owns this connection."""
        self.refuse_others()
        if self._deadline is None:  # another session would not have what this one has begun
            words = f"connection {self.session.alias!r} is opened once; take a new lease for another"
            raise err.NotSupportedError(words)
        super().connect(sock)

    def exchange(self, call: Callable[..., T], *arguments: Any) -> T:
        """
        Mark a reply as pending for as long as *call* has not read it whole.

        Exchanges nest: what is left of an earlier reply is read inside of the next command.

        Raises:
            InheritedConnectionError: Another process opened this connection. Nothing has been sent.
            TaintedConnectionError: An exchange was interrupted before. Nothing has been sent.
        """
        session = self.session
        if session.interrupt or session.owner_pid != me.pid or not unforked[0]:
            self.refuse_others()
        was_pending, mark = session.pending, strikes.count
        session.pending = was_pending or self._sock is not None
        try:
            returned = call(*arguments)
            if strikes.count != mark and (swallowed := strikes.since(mark)) is not None:
                raise swallowed  # noqa: TRY301 -- to be treated as what struck and was let through
            session.pending = was_pending
        except err.MySQLError as error:
            # Lost: the reply will never come, and stays pending. Out of sync: it was somebody else's.
            if error.args and error.args[0] == CR.CR_COMMANDS_OUT_OF_SYNC:
                self._force_close()
            elif self._sock is not None:
                session.pending = was_pending
                note_undone(session, error)
            if session.deadline is not None:
                hear_limit(session.deadline, error)
            raise
        except BaseException as interrupt:
            session.interrupt = type(interrupt).__name__
            self._result = None  # a cursor that is closed now finds nothing to read
            self._force_close()
            raise
        return returned

    def refuse_others(self) -> None:
        """Refuse a process that does not own this connection, and everybody after an interrupt."""
        session = self.session
        pid = getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)
        if session.interrupt:
            raise TaintedConnectionError(session.alias, session.interrupt)

    def say_goodbye(self) -> None:
        """Send COM_QUIT and close, as PyMySQL does, which suppresses interrupts too."""
        if self._closed:
            raise err.Error("Already closed")
        self._closed = True
        if self._sock is not None:
            try:
                with contextlib.suppress(err.MySQLError, OSError):
                    self._write_bytes(_QUIT)
            finally:
                self._force_close()

    def _read_query_result(self, unbuffered: bool = False) -> Any:  # noqa: FBT001, FBT002 -- PyMySQL's signature
        self._result = None
        result: Any = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows

    def _get_server_information(self) -> None:
        self._hurry()
        super()._get_server_information()  # type: ignore[misc]  # private: no types

    def _request_authentication(self) -> None:
        self._hurry()
        if self._tls.is_required and not self.server_capabilities & CLIENT.SSL:  # PyMySQL < 1.2 would go on without
            raise err.OperationalError(CR.CR_SSL_CONNECTION_ERROR, "SSL is required but the server doesn't support it")
        super()._request_authentication()  # type: ignore[misc]  # private: no types

    def _hurry(self) -> None:
        """Bound the login too: PyMySQL's `connect_timeout` ends with TCP, and a frozen server would be waited for."""
        if self._deadline is not None:
            self._read_timeout = self._write_timeout = max(0.001, self._deadline - _monotonic())

    def _force_close(self) -> None:
        # In a child the reader's lock may be held for ever: by a thread of the parent that was in a query at the fork.
        # Otherwise this closes the descriptor without a word, and what is behind it in a child is a dead socket.
        if self.session.owner_pid == getpid() or not self.session.pending:
            closed, self._sock, self._rfile = (self._rfile, self._sock), None, None
            for one in closed:
                with contextlib.suppress(OSError):  # PyMySQL suppresses everything, interrupts too
                    if one is not None:
                        one.close()
