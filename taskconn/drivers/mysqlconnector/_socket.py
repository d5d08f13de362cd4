"""The socket of a connection: of one process, within a deadline, with its alias's one TLS context."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

from mysql.connector import errors, network

from ..._process import getpid
from ...driver import Session
from ...errors import InheritedConnectionError

__all__ = ["GuardedSocket", "TCPSocket", "Tls", "UnixSocket"]

_monotonic = time.monotonic


class Tls:
    """Keep the one TLS context of an alias: the library makes a new one, for 25 ms, at each connect."""

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"<Tls {'unused' if self.context is None else 'ready'}>"


class GuardedSocket(network.MySQLSocket):
    """
    Mix into a socket class of the library: all that is sent and received comes through here.

    Attributes:
        touches: How often something was sent or received.
        is_broken: A call failed half way, so nobody knows where a reply begins.
        deadline: Monotonic time until which the server may take, in seconds; None: as long as the library lets it.
    """

    session: Session
    tls: Tls
    touches: int = 0
    is_broken: bool = False
    deadline: float | None = None

    def send(self, *arguments: Any, **named: Any) -> None:
        """Send a packet."""
        self._begin()
        super().send(*arguments, **named)
        self.is_broken = False

    def recv(self, *arguments: Any, **named: Any) -> bytearray:
        """Receive a packet."""
        self._begin()
        packet = super().recv(*arguments, **named)
        self.is_broken = False
        return packet

    def build_ssl_context(self, *arguments: Any, **named: Any) -> ssl.SSLContext:
        """Give the alias's TLS context, made by the library when first needed."""
        if self.tls.context is None:
            self.tls.context = super().build_ssl_context(*arguments, **named)
        return self.tls.context

    def shutdown(self) -> None:
        """Shut the socket, so that a thread that still reads from it wakes up; in a child, close the descriptor."""
        sock = self.sock
        if sock is None:
            return
        if self.session.owner_pid == getpid():
            with contextlib.suppress(OSError):  # the peer was quicker
                # The TLS layer's own shutdown() would forget its state under a thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            sock.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, TypeError):  # the constructor failed early, or the interpreter ends
            self.shutdown()

    def limit(self, deadline: float | None) -> None:
        """Let the server take until *deadline*; None: as long as the library lets it."""
        self.deadline = deadline
        if deadline is None:
            with contextlib.suppress(OSError):
                self.set_connection_timeout(None)

    def _begin(self) -> None:
        session, pid = self.session, getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)
        self.touches += 1
        self.is_broken = True
        if self.deadline is not None:
            if _monotonic() > self.deadline:
                raise errors.OperationalError("the server took too long", errno=2013)
            # While this is set, the library leaves the socket's timeout alone.
            with contextlib.suppress(OSError):
                self.set_connection_timeout(self._left_s())  # type: ignore[arg-type]  # goes to settimeout()

    def _left_s(self) -> float:
        return max(0.001, (self.deadline or 0) - _monotonic())


class TCPSocket(GuardedSocket, network.MySQLTCPSocket):
    """A TCP socket, bare or with TLS."""


class UnixSocket(GuardedSocket, network.MySQLUnixSocket):
    """A Unix socket."""
