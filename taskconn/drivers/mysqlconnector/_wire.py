"""How a connection speaks: each command under its guard, over a socket that is taskconn's own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from mysql.connector import errors
from mysql.connector.connection import MySQLConnection
from mysql.connector.constants import ServerCmd

from ..._interruptible import Interruptible, guarded_class
from ..._process import getpid
from ...driver import Session
from ._cursor import GuardedCursor
from ._socket import GuardedSocket, TCPSocket, Tls, UnixSocket

__all__ = ["WireConnection"]

_monotonic = time.monotonic

#: Bit of the server's status: every statement commits by itself.
_AUTOCOMMIT = 2
#: First byte of a packet that ends the rows, and of one that says why there are no more.
_EOF, _ERROR = 0xFE, 0xFF
#: A packet of so many bytes, with its head, is a row that begins like the end of rows.
_LONGER_THAN_EOF = 13
#: Head of a packet that the next one goes on.
_FRAGMENT = b"\xff\xff\xff"


class WireConnection(Interruptible, MySQLConnection):
    """
    A connection of one process, dropped at once when anything but the library's own error interrupts it.

    Attributes:
        server_status: Flags of the last reply that had some.
        reader: The cursor that the unread rows belong to, as long as somebody holds it.
    """

    library_errors: ClassVar[tuple[type[BaseException], ...]] = (errors.Error,)
    busy_error: ClassVar[type[Exception]] = errors.ProgrammingError
    _socket: GuardedSocket | None

    def __init__(self, session: Session, tls: Tls, timeout_s: float, arguments: dict[str, Any]) -> None:
        self.session = session
        self.server_status = 0
        self.reader: Callable[[], object] = lambda: None
        self._tls = tls
        self._is_opening = True
        self._is_making_cursor = False
        self._deadline: float | None = _monotonic() + timeout_s
        super().__init__()
        try:
            self.connect(**arguments, connection_timeout=timeout_s)
        except BaseException:
            self.drop()
            raise
        self._is_opening = False
        self._limit(None)
        session.sent = 0
        session.pending = session.closed_by_hand = False

    def __repr__(self) -> str:
        state = "open" if self.is_open() else "closed"
        return f"<Connection {self.session.alias!r} of process {self.session.owner_pid}, {state}>"

    # -- what is known without speaking ------------------------------------------------------------------

    @property
    def touches(self) -> int:  # type: ignore[override]  # read only
        """How often something was sent or received."""
        return 0 if self._socket is None else self._socket.touches

    def is_inherited(self) -> bool:
        """Tell whether another process opened this connection."""
        return self.session.owner_pid != getpid()

    def is_open(self) -> bool:
        """Tell whether there is a socket."""
        return bool(self.descriptors())

    def descriptors(self) -> tuple[int, ...]:
        """List its one socket."""
        sock = None if self._socket is None else self._socket.sock
        descriptor = -1 if sock is None else sock.fileno()
        return (descriptor,) if descriptor >= 0 else ()

    def has_unread(self) -> bool:
        """Tell whether rows of an unbuffered cursor, or further result sets, wait to be read."""
        return bool(self.unread_result or self._have_next_result)

    def is_in_step(self, error: BaseException) -> bool:
        """Tell whether *error* came as a packet from the server: only those have an SQL state."""
        is_broken = self._socket is None or self._socket.is_broken
        return not is_broken and bool(getattr(error, "sqlstate", None))

    @property
    def has_autocommit(self) -> bool:
        """Tell whether every statement commits by itself, as of the last reply."""
        return bool(self.server_status & _AUTOCOMMIT)

    @property
    def sql_mode(self) -> Any:
        """The SQL mode, which the library asks for before it escapes a parameter: no statement of the task's."""
        sent = self.session.sent
        found = super().sql_mode
        self.session.sent = sent
        return found

    @sql_mode.setter
    def sql_mode(self, value: Any) -> None:
        MySQLConnection.sql_mode.fset(self, value)  # type: ignore[attr-defined]  # a property

    # -- speaking: the commands of the library -----------------------------------------------------------

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """Make a cursor, of a class that asks under this connection's guard."""
        self.refuse_others()
        self.forget_abandoned()
        self._is_making_cursor = True
        try:
            cursor = super().cursor(*arguments, **named)
        finally:
            self._is_making_cursor = False
        cursor.__class__ = guarded_class(type(cursor), GuardedCursor)
        return cursor

    def is_connected(self) -> bool:
        """Ask for a sign of life; the library does for each cursor it makes, where a look at the socket will do."""
        return self.is_open() if self._is_making_cursor else super().is_connected()

    def cmd_query(self, *arguments: Any, **named: Any) -> Any:
        """Send a statement and read the head of its reply. Every cursor comes through here."""
        return self.statement(super().cmd_query, *arguments, **named)

    def cmd_query_iter(self, *arguments: Any, **named: Any) -> Iterator[Any]:  # type: ignore[override]  # wider
        """Send statements, and read the heads of their replies one by one."""
        self.session.sent += 1
        results = super().cmd_query_iter(*arguments, **named)
        while (result := self.exchange(next, results, None)) is not None:
            yield result

    def cmd_stmt_prepare(self, *arguments: Any, **named: Any) -> Any:
        """Prepare a statement."""
        return self.exchange(super().cmd_stmt_prepare, *arguments, **named)

    def cmd_stmt_execute(self, *arguments: Any, **named: Any) -> Any:
        """Execute a prepared statement."""
        return self.statement(super().cmd_stmt_execute, *arguments, **named)

    def cmd_stmt_close(self, *arguments: Any, **named: Any) -> Any:
        """Forget a prepared statement."""
        return self.exchange(super().cmd_stmt_close, *arguments, **named)

    def cmd_stmt_reset(self, *arguments: Any, **named: Any) -> Any:
        """Clear a prepared statement."""
        return self.exchange(super().cmd_stmt_reset, *arguments, **named)

    def cmd_init_db(self, database: str) -> Any:
        """Change the database."""
        return self.statement(super().cmd_init_db, database)

    def cmd_change_user(self, *arguments: Any, **named: Any) -> Any:
        """Log in as somebody else."""
        return self.statement(super().cmd_change_user, *arguments, **named)

    def cmd_statistics(self) -> Any:
        """Ask the server how it is."""
        return self.exchange(super().cmd_statistics)

    def cmd_ping(self) -> Any:
        """Ask for a sign of life."""
        return self.exchange(super().cmd_ping)

    def cmd_reset_connection(self) -> bool:
        """Clear the session by hand."""
        return self.statement(super().cmd_reset_connection)

    def get_rows(self, *arguments: Any, **named: Any) -> Any:
        """Read rows."""
        return self.exchange(super().get_rows, *arguments, **named)

    def forget_abandoned(self) -> None:
        """Read the rows of a cursor that nobody holds any more; those of one that is held make the library complain."""
        if self.has_unread() and self.reader() is None:
            self.exchange(self.read_unread)

    def read_unread(self) -> None:
        """Read rows and result sets that nobody wants any more, whatever their format."""
        while True:
            while self.unread_result:
                packet = self._receive()
                while packet.startswith(_FRAGMENT):
                    packet = self._receive()
                    if not packet.startswith(_FRAGMENT):
                        packet = self._receive()
                if packet[4] == _EOF and len(packet) < _LONGER_THAN_EOF:
                    self._handle_eof(bytes(packet))
                    self.unread_result = False
                elif packet[4] == _ERROR:
                    self.unread_result = False
                    raise errors.get_exception(bytes(packet))
            if not self._have_next_result:
                return
            self._handle_result(self._receive())

    # -- ending ------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Shut the socket, so that a thread that still reads from it wakes up, then close without a word."""
        self._unread_result = self._have_next_result = False
        if self._socket is not None:
            self._socket.shutdown()

    # -- private -----------------------------------------------------------------------------------------

    def _get_connection(self) -> GuardedSocket:
        made: Any
        if self._unix_socket:
            made = UnixSocket(self._unix_socket)
        else:
            made = TCPSocket(self.server_host, self.server_port, force_ipv6=self._force_ipv6)
        made.session, made.tls, made.deadline = self.session, self._tls, self._deadline
        made.set_connection_timeout(self._connection_timeout)
        checked: GuardedSocket = made
        return checked

    def _limit(self, deadline: float | None) -> None:
        self._deadline = deadline
        if self._socket is not None:
            self._socket.limit(deadline)

    @contextlib.contextmanager
    def bounded(self, timeout_s: float) -> Iterator[None]:
        """Let the server take *timeout_s* for a while."""
        self._limit(_monotonic() + timeout_s)
        try:
            yield
        finally:
            self._limit(None)

    def _handle_server_status(self, flags: int) -> None:
        self.server_status = flags
        super()._handle_server_status(flags)

    def _receive(self) -> bytearray:
        if self._socket is None:
            raise errors.OperationalError(errno=2006)
        return self._socket.recv()

    def _reset_connection(self) -> None:
        self._handle_ok(self._send_cmd(ServerCmd.RESET_CONNECTION))
