"""redis-py's connections and their pool, made safe: no byte from a child, no reply left behind by an interrupt."""

from __future__ import annotations

import contextlib
import socket
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import redis.connection
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError, WatchError
from redis.retry import Retry

from ..._process import getpid
from ...driver import Session
from ...errors import InheritedConnectionError, LeaseEndedError
from ._commands import CLOSING, LASTING, OPENING, name_of

__all__ = ["SSLConnection", "SafePool", "TCPConnection", "Tls", "UnixConnection"]

#: Errors that come of a reply that was read whole: the server's, and that of an EXEC which found a watched key changed.
_READ_WHOLE = (ResponseError, WatchError)


def refuse_others(session: Session) -> None:
    """Refuse a process that does not own the client."""
    pid = getpid()
    if session.owner_pid != pid:
        raise InheritedConnectionError(session.alias, session.owner_pid, pid)


class Tls:
    """Keep the one TLS context of an alias; redis-py makes a new one, for 50 ms, at each connect."""

    def __init__(self) -> None:
        self.context: Any = None


class Guarded:
    """
    What is added to each of redis-py's connection classes.

    Attributes:
        is_changed: A command was sent that changes what the connection means to the next one who uses it.
        is_in_transaction: MULTI or WATCH was sent, and what ends them was not.
        is_forgotten: The lease of the one who holds it has ended: a pipeline that watches, a subscription.
        taken_during: The exception that was being handled when the connection was taken from the pool.
    """

    is_changed = False
    is_in_transaction = False
    is_forgotten = False
    taken_during: BaseException | None = None
    _limit_s: float | None = None
    # Of redis-py's class.
    _sock: Any
    socket_timeout: float | None
    retry: Any
    host: str

    def __init__(self, *, session: Session, tls: Tls, label: str = "", **arguments: Any) -> None:
        self._session = session
        self._tls = tls
        self._label = label
        super().__init__(**arguments)
        self.register_connect_callback(self._begin)  # type: ignore[attr-defined]  # redis-py's class, mixed in

    def connect(self) -> None:
        """Connect and log in; an interrupted login leaves nothing behind."""
        self._refuse()
        try:
            super().connect()  # type: ignore[misc]  # redis-py's class, mixed in
        except BaseException:
            self.disconnect()
            raise

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 -- redis-py's
        """Send, in the process that owns the connection."""
        self._refuse()
        super().send_packed_command(command, check_health)  # type: ignore[misc]  # redis-py's class, mixed in

    def send_command(self, *arguments: Any, **options: Any) -> None:
        """Send one command, and note what it changes."""
        self._note(arguments)
        super().send_command(*arguments, **options)  # type: ignore[misc]  # redis-py's class, mixed in

    def pack_commands(self, commands: Any) -> Any:
        """Pack a pipeline's commands, and note what they change."""
        commands = list(commands)
        for arguments in commands:
            self._note(arguments)
        return super().pack_commands(commands)  # type: ignore[misc]  # redis-py's class, mixed in

    def can_read(self, *arguments: Any, **options: Any) -> bool:
        """Tell whether there is something to read, in the process that owns the connection."""
        self._refuse()
        return bool(super().can_read(*arguments, **options))  # type: ignore[misc]  # redis-py's class, mixed in

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply, in the process that owns the connection."""
        self._refuse()
        return super().read_response(*arguments, **options)  # type: ignore[misc]  # redis-py's class, mixed in

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Disconnect; the next session begins unchanged. In a child redis-py closes the descriptor and says nothing."""
        super().disconnect(*arguments, **options)  # type: ignore[misc]  # redis-py's class, mixed in
        self.is_changed = self.is_in_transaction = False

    @contextlib.contextmanager
    def limited(self, timeout_s: float) -> Iterator[None]:
        """Wait for the server no longer than *timeout_s* at a time, and try only once."""
        retry, self.retry, self._limit_s = self.retry, Retry(NoBackoff(), 0), timeout_s
        self._set_timeout(timeout_s)
        try:
            yield
        finally:
            self.retry, self._limit_s = retry, None
            self._set_timeout(self.socket_timeout)

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[misc]  # redis-py's class, mixed in
        if self._limit_s is not None:
            sock.settimeout(self._limit_s)
        return sock

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> Any:
        if self._limit_s is not None:
            sock.settimeout(self._limit_s)
        if self._tls.context is not None:
            return self._tls.context.wrap_socket(sock, server_hostname=self.host)
        wrapped = super()._wrap_socket_with_ssl(sock)  # type: ignore[misc]  # redis-py's class, mixed in
        if not (getattr(self, "ssl_validate_ocsp", False) or getattr(self, "ssl_validate_ocsp_stapled", False)):
            self._tls.context = wrapped.context
        return wrapped

    def _begin(self, _: Any) -> None:
        """Tell the server who this is, where it lets us; what the login sent has changed nothing."""
        if self._label:
            with contextlib.suppress(ResponseError):
                self.send_command("CLIENT", "SETNAME", self._label, check_health=False)
                self.read_response()
        self.is_changed = self.is_in_transaction = False

    def _refuse(self) -> None:
        refuse_others(self._session)
        if self.is_forgotten:
            raise LeaseEndedError(self._session.alias, "has ended, and with it this pipeline or subscription")

    def _note(self, arguments: Any) -> None:
        name = name_of(arguments)
        if name in LASTING:
            self.is_changed = True
        elif name in OPENING or name in CLOSING:
            self.is_in_transaction = name in OPENING

    def _set_timeout(self, timeout_s: float | None) -> None:
        if self._sock is not None:
            self._sock.settimeout(timeout_s)


class TCPConnection(Guarded, redis.connection.Connection):
    """redis-py's connection over TCP, guarded."""


class SSLConnection(Guarded, redis.connection.SSLConnection):
    """redis-py's connection over TLS, guarded."""


class UnixConnection(Guarded, redis.connection.UnixDomainSocketConnection):
    """redis-py's connection over a Unix socket, guarded."""


class SafePool(redis.ConnectionPool):
    """
    redis-py's pool of one client, which does not give a connection to the next one when an exception passed over it.

    Source:
        Experiment: redis-py is interrupted between sending a command and reading its reply; 43 of 2435 interrupts gave
        the next caller somebody else's reply, and none with this class.
    """

    _available_connections: list[Any]
    _in_use_connections: set[Any]
    _created_connections: int
    _lock: Any

    def __init__(self, session: Session, **arguments: Any) -> None:
        self.session = session
        self._made: set[weakref.ref[Any]] = set()
        super().__init__(session=session, **arguments)

    def make_connection(self) -> Any:
        """Make a connection, and remember it for as long as it lives, whoever holds it."""
        connection = super().make_connection()
        self._made.add(weakref.ref(connection, self._made.discard))
        return connection

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """Take a connection, in the process that owns the client; counts as a statement."""
        refuse_others(self.session)
        self.session.sent += 1
        connection: Any = super().get_connection(*arguments, **options)
        connection.taken_during = sys.exc_info()[1]
        return connection

    def release(self, connection: Any) -> None:
        """
        Take a connection back. redis-py calls it in a ``finally``, so an exception in flight shows here.

        One that was being handled already when the connection was taken is none of its business. In a child this
        does nothing: the pool's lock may be held by a thread of the parent.
        """
        if self.session.owner_pid != getpid():
            return
        error = sys.exc_info()[1]
        if error is not None and error is not connection.taken_during and not isinstance(error, _READ_WHOLE):
            connection.disconnect()
        connection.taken_during = None
        if connection in self._in_use_connections:
            super().release(connection)
        else:
            connection.disconnect()  # kept by a task beyond its lease, and forgotten by `clean`

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 -- redis-py's signature
        """Disconnect; in a child nothing is done, for the lock's sake."""
        if self.session.owner_pid == getpid():
            super().disconnect(inuse_connections)

    def open_one(self, timeout_s: float) -> None:
        """Connect one connection within *timeout_s*, to be used first."""
        connection = self.make_connection()
        with connection.limited(timeout_s):
            connection.connect()
        self._available_connections.append(connection)

    def ping(self, timeout_s: float) -> None:
        """Ask for a sign of life over the connection that would be used next, within *timeout_s*."""
        self._ask("PING", timeout_s=timeout_s)

    def told_identity(self) -> str | None:
        """Give the id of the session, as the reply to HELLO had it, of the connection that would be used next."""
        connection = next(reversed(self._available_connections), None)
        told = getattr(connection, "handshake_metadata", None)
        found = (told.get(b"id") or told.get("id")) if isinstance(told, dict) else None
        return None if found is None else str(found)

    def ask_identity(self, timeout_s: float) -> str | None:
        """Ask for the id of the session of the connection that would be used next."""
        try:
            return str(self._ask("CLIENT", "ID", timeout_s=timeout_s))
        except ResponseError:
            return None

    def _ask(self, *command: str, timeout_s: float) -> Any:
        if not self._available_connections:
            self.open_one(timeout_s)
        connection = self._available_connections[-1]
        try:
            with connection.limited(timeout_s):
                connection.connect()
                connection.send_command(*command, check_health=False)
                return connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise

    def clean(self) -> None:
        """Drop what a task still holds (a pipeline that watches, a subscription) or has left changed."""
        with self._lock:
            for connection in self._in_use_connections:
                connection.is_forgotten = True
                connection.disconnect()
            self._in_use_connections.clear()
            changed = [one for one in self._available_connections if one.is_changed or one.is_in_transaction]
            for connection in changed:
                self._available_connections.remove(connection)
                connection.disconnect()
            self._created_connections = len(self._available_connections)

    def connections(self) -> list[Any]:
        """List all connections that are alive as objects, idle or held by anybody. Takes no lock."""
        return [connection for made in list(self._made) if (connection := made()) is not None]
