"""Sockets as the system shows them: known by descriptor and file, looked at, and disarmed in a child without a byte."""

from __future__ import annotations

import _socket
import enum
import os
import select
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["Lookout", "Peek", "Socket", "borrow", "disarm", "kind_of", "peek", "port_of"]

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


#: As part of a socket's type: a new object leaves its descriptor as it is.
_UNCHANGED = getattr(_socket, "SOCK_NONBLOCK", 0)


def borrow(fd: int, family: int = -1) -> _socket.socket:
    """
    Make an object for a socket that somebody else uses: of a copy of its descriptor, which it closes in the end.

    Args:
        fd: The descriptor.
        family: Any, where the object's own is not asked for: saves a system call.

    Raises:
        OSError: It is no socket, or there is no descriptor left.

    Source:
        Experiment: after `socket.setdefaulttimeout()`, and of gevent's class always, a new object makes its socket
        non-blocking, for its owner too, who then loses a connection. The type is not looked at: see `kind_of`.
    """
    copy = os.dup(fd)
    try:
        if _UNCHANGED or _socket.getdefaulttimeout() is None:
            return _socket.socket(family, _socket.SOCK_STREAM | _UNCHANGED, 0, copy)
        was_blocking = os.get_blocking(copy)
        end = _socket.socket(family, _socket.SOCK_STREAM, 0, copy)
        os.set_blocking(copy, was_blocking)
    except BaseException:
        os.close(copy)
        raise
    return end


def kind_of(end: _socket.socket) -> int:
    """Give the type of a borrowed socket (``SOCK_STREAM``)."""
    return end.getsockopt(_socket.SOL_SOCKET, _socket.SO_TYPE)


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


class Lookout:
    """
    Wait for what comes on one socket, or just look, by a poll object that is kept: making one takes longer than asking.

    One that gevent has put in the place of Python's is made anew each time: it belongs to the thread that made it.
    """

    __slots__ = ("_fd", "_make", "_poll")

    def __init__(self) -> None:
        self._fd = -1
        self._make: Any = None
        self._poll: Callable[[float | None], list[tuple[int, int]]]

    def wait(self, fd: int, timeout_s: float | None) -> bool:
        """
        Wait until there is something to read, in Python, so that signals are heard and gevent may switch.

        Returns:
            False if there was nothing within *timeout_s*; None waits for ever.
        """
        timeout_ms = None if timeout_s is None else timeout_s * 1000 if timeout_s > 0 else 0
        if fd == self._fd and self._make is getattr(select, "poll", None):
            return bool(self._poll(timeout_ms))
        return bool(self._ask(fd, timeout_ms))

    def peek(self, fd: int) -> Peek:
        """Look without waiting."""
        is_known = fd == self._fd and self._make is getattr(select, "poll", None)
        for _, events in self._poll(0) if is_known else self._ask(fd, 0):
            return Peek.DEAD if events & _GONE else Peek.READABLE
        return Peek.QUIET

    def _ask(self, fd: int, timeout_ms: float | None) -> list[tuple[int, int]]:
        make = getattr(select, "poll", None)
        if make is None:  # Windows, eventlet
            readable = select.select([fd], [], [], None if timeout_ms is None else timeout_ms / 1000)[0]
            return [(fd, 0)] if readable else []
        poller = make()
        poller.register(fd, _READABLE)
        if type(poller).__module__ == "select":
            self._poll, self._make, self._fd = poller.poll, make, fd
        answer: list[tuple[int, int]] = poller.poll(timeout_ms)
        return answer


def port_of(fd: int) -> int | None:
    """Give a socket's port on this side; 0 for a Unix socket, None if it is no socket."""
    try:
        end = borrow(fd)
    except OSError:
        return None
    try:
        name = end.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0
    except OSError:
        return None
    finally:
        end.close()
