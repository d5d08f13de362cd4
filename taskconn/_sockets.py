"""Sockets as a fork hands them on: known by descriptor and file, and disarmed without a byte."""

from __future__ import annotations

import _socket
import os
from typing import NamedTuple

__all__ = ["Socket", "disarm"]


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
