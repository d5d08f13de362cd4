"""Where sockets were opened: noted by an audit hook for Python's own, by a trace of calls for clients written in C."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from .._process import Socket
from ._libraries import CLIENTS_IN_C
from ._stacks import Stack, take

__all__ = ["Origin", "begin", "note", "on_client_in_c", "on_fork", "origin_of"]


class Origin(NamedTuple):
    """
    Say how a descriptor came to be a connection.

    Attributes:
        inode: What the descriptor was then: numbers are used again.
        stack: The calls that led to it.
        socket: Python's object, weakly; None for clients in C.
        is_certain: No other thread can have opened it.
    """

    inode: int
    stack: Stack
    socket: Callable[[], Any] | None = None
    is_certain: bool = True


#: Descriptor -> its last origin.
_origins: dict[int, Origin] = {}

#: Audit event -> what to do with its arguments.
_handlers: dict[str, Callable[[tuple[Any, ...]], None]] = {}


class _Hook:
    """Audit hooks can't be taken back, so there is one for good. Whom it tells may change."""

    is_there = False
    on_client_in_c: Callable[[], None] | None = None
    on_fork: Callable[[], None] | None = None


def begin() -> None:
    """Note from now on where sockets are connected. It can't be ended, and costs a look into a dict per audit event."""
    if _Hook.is_there:
        return
    _Hook.is_there = True
    _handlers["socket.connect"] = _note_connect
    _handlers["import"] = _note_import
    sys.addaudithook(_audit)


def on_fork(callback: Callable[[], None] | None) -> None:
    """Call *callback* before each fork by Python; what it raises refuses the fork."""
    _Hook.on_fork = callback
    for event in ("os.fork", "os.forkpty"):
        if callback is None:
            _handlers.pop(event, None)
        else:
            _handlers[event] = _note_fork


def on_client_in_c(callback: Callable[[], None] | None) -> None:
    """Call *callback* when a client library in C is about to be loaded, or at once if one is."""
    _Hook.on_client_in_c = callback
    if callback is not None and not CLIENTS_IN_C.isdisjoint(sys.modules):
        callback()


def origin_of(socket: Socket) -> Origin | None:
    """Tell how *socket* was opened, if that was seen."""
    origin = _origins.get(socket.fd)
    return origin if origin is not None and origin.inode == socket.inode else None


def note(socket: Socket, stack: Stack, *, is_certain: bool) -> None:
    """Note the origin of *socket*, as a trace has found it."""
    if origin_of(socket) is None:
        _origins[socket.fd] = Origin(socket.inode, stack, is_certain=is_certain)


def _audit(event: str, arguments: tuple[Any, ...], handlers: Any = _handlers) -> None:
    if event in handlers:  # bound as a default, for a module's names go before the hook does
        handlers[event](arguments)


def _note_connect(arguments: tuple[Any, ...]) -> None:
    sock = arguments[0]
    try:
        fd = sock.fileno()
        inode = os.fstat(fd).st_ino
    except (AttributeError, OSError, TypeError, ValueError):  # closed meanwhile, or a class of somebody's own
        return
    try:
        reference = weakref.ref(sock)
    except TypeError:  # the bare object in C, as gevent has it
        reference = None
    _origins[fd] = Origin(inode, take(sys._getframe(1).f_back), reference)  # noqa: SLF001 -- the caller's, if Python called


def _note_import(arguments: tuple[Any, ...]) -> None:
    if arguments[0] in CLIENTS_IN_C and _Hook.on_client_in_c is not None:
        _Hook.on_client_in_c()


def _note_fork(_: tuple[Any, ...]) -> None:
    if _Hook.on_fork is not None:
        _Hook.on_fork()
