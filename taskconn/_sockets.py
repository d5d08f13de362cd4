"""Sockets as the system shows them: known by descriptor and file, looked at, and disarmed in a child without a byte."""

from __future__ import annotations

import _socket
import enum
import os
import select
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Peek", "Socket", "disarm", "peek", "port_of"]

#: What poll(2) says of a peer that has gone. POLLRDHUP is Linux only.
_GONE = getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0) | getattr(select, "POLLRDHUP", 0)
_GONE |= getattr(select, "POLLNVAL", 0)
_READABLE = getattr(select, "POLLIN", 0) | getattr(select, "POLLPRI", 0) | getattr(select, "POLLRDHUP", 0)


class Socket(NamedTuple):
    """Identify one open socket of this process, so that a reused descriptor is not mistaken for it."""

    fd: int
    device: int
    inode: int

    @classmethod
    def of(cls, fd: int) -> Socket | None:
        """
        Identify the socket behind *fd*.

        Returns:
            The identity, or None if *fd* is not open.
        """
        try:
            stat = os.fstat(fd)
        except OSError:
            return None
        return cls(fd, stat.st_dev, stat.st_ino)


class Peek(enum.Enum):
    """What a look at an idle connection's socket shows, without a round trip."""

    QUIET = "nothing to read: alive as far as this host knows"
    DEAD = "the peer has gone"
    READABLE = "unread bytes: a stale reply"


def disarm(inherited: list[Socket]) -> None:
    """
    Put a dead socket where each inherited one was, without a byte on the wire.

    ``dup2`` closes this process's reference only, atomically, and leaves the number occupied until the driver
    itself closes it: nothing is closed twice, and a later use is an ordinary lost connection.

    Source:
        Experiment: no driver speaks or blocks afterwards, even if a parent's thread was in a query at the fork.
    """
    if not inherited:
        return
    dead = _dead_socket(inherited)
    try:
        for entry in inherited:
            if Socket.of(entry.fd) == entry:
                os.dup2(dead.fileno(), entry.fd, inheritable=False)
    finally:
        if all(entry.fd != dead.fileno() for entry in inherited):
            dead.close()
        else:
            dead.detach()


def _dead_socket(inherited: list[Socket]) -> _socket.socket:
    """Make a socket whose peer has gone; one that never had a peer if the process has no descriptor left for two."""
    try:
        dead, peer = _socket.socketpair()  # gevent's socket module would start an event loop in the hook
    except OSError:
        try:
            return _socket.socket(_socket.AF_UNIX)
        except OSError:  # closing one of the inherited makes room, and the new one takes its very number
            os.close(next(entry.fd for entry in inherited if Socket.of(entry.fd) == entry))
            return _socket.socket(_socket.AF_UNIX)
    peer.close()
    dead.shutdown(_socket.SHUT_RDWR)
    return dead


def peek(descriptors: Iterable[int]) -> Peek:
    """Look at sockets without waiting: the worst of what they show. `Driver.peek` is this, unless it needs more."""
    found = Peek.QUIET
    if not hasattr(select, "poll"):  # Windows
        listed = list(descriptors)
        return Peek.READABLE if listed and select.select(listed, [], [], 0)[0] else Peek.QUIET
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, _READABLE)
    for _, events in poller.poll(0):
        if events & _GONE:
            return Peek.DEAD
        found = Peek.READABLE
    return found


def port_of(fd: int) -> int | None:
    """Give a socket's port on this side; 0 for a Unix socket, None if it is no socket."""
    try:
        end = _socket.socket(fileno=os.dup(fd))
    except OSError:
        return None
    try:
        name = end.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0
    except OSError:
        return None
    finally:
        end.close()
