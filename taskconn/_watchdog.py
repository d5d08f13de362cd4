"""A thread that shuts a socket at a deadline, for client libraries that wait in C and let nothing else end the wait."""

from __future__ import annotations

import _socket
import _thread
import contextlib
import sys
import time
from _queue import SimpleQueue
from collections.abc import Callable
from types import TracebackType
from typing import Any

from . import _process
from ._process import Owner, Socket

__all__ = ["Deadline", "shut", "system_thread"]

_monotonic = time.monotonic
_NEVER = float("inf")


def shut(fd: int) -> None:
    """Shut a socket in both directions, without a word of its protocol; who waits for it wakes up. It stays open."""
    with contextlib.suppress(OSError):
        sock = _socket.socket(fileno=fd)
        try:
            sock.shutdown(_socket.SHUT_RDWR)
        finally:
            sock.detach()


class Deadline:
    """
    Shut a socket if the ``with`` block takes longer than *timeout_s*.

    Only for calls that release the interpreter's lock. The library then reports a lost connection.

    Attributes:
        has_passed: The socket was shut.
    """

    __slots__ = ("_socket", "at", "has_passed")

    def __init__(self, fd: int, timeout_s: float) -> None:
        self._socket = Socket.of(fd)
        self.at = _monotonic() + timeout_s
        self.has_passed = False

    def __enter__(self) -> Deadline:
        _watchdog.start()
        try:
            _watchdog.arm(self)
        except BaseException:  # an interrupt on the way in: nobody would disarm it
            _watchdog.armed.pop(id(self), None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if _watchdog.armed.pop(id(self), None) is None:
            while not self.has_passed:  # the other thread is about to shut it: the descriptor must not change hands
                time.sleep(0.0005)

    def pass_(self) -> None:
        """Shut the socket, if the descriptor still is that socket."""
        if self._socket is not None and Socket.of(self._socket.fd) == self._socket:
            shut(self._socket.fd)
        self.has_passed = True


class _Watchdog:
    """
    Keep the deadlines of this process, and the one thread that looks after them, started when first needed.

    The thread is the operating system's, and waits in a queue written in C, under gevent and eventlet too: their
    threads stand still while a library waits in C.

    Attributes:
        armed: Deadlines by their id. Whoever takes one out, in one step, has the say over it.
    """

    def __init__(self) -> None:
        self._renew()
        _process.watch(self)

    def _renew(self) -> None:
        self.armed: dict[int, Deadline] = {}
        self._news: SimpleQueue[None] = SimpleQueue()
        self._wakes_at = _NEVER
        self._is_running = False

    def start(self) -> None:
        """Start the thread if there is none. At the interpreter's end there can be none: then nothing is bounded."""
        if not self._is_running:
            with contextlib.suppress(RuntimeError):
                self._is_running = True
                system_thread()(self._run, ())

    def arm(self, deadline: Deadline) -> None:
        """Look after *deadline* from now on."""
        self.armed[id(deadline)] = deadline
        if deadline.at < self._wakes_at:
            self._news.put(None)

    def _run(self) -> None:
        # 1. `arm` adds a deadline, then reads when the thread wakes. 2. The thread says that it sleeps for ever, then
        # reads the deadlines, then says when it wakes. So whatever it has not read finds it late, and wakes it.
        while True:
            self._wakes_at = _NEVER
            now = _monotonic()
            wakes_at = _NEVER
            for key, deadline in list(self.armed.items()):
                if deadline.at > now:
                    wakes_at = min(wakes_at, deadline.at)
                elif self.armed.pop(key, None) is not None:
                    deadline.pass_()
            self._wakes_at = wakes_at
            with contextlib.suppress(Exception):  # `_queue.Empty`: it is time
                self._news.get(timeout=None if wakes_at == _NEVER else max(0.0, wakes_at - _monotonic()))

    # -- forks (`_process.ForkAware`): the thread is not there in a child -------------------------------------

    def before_fork(self) -> None:
        """Do nothing: the parent goes on as it was."""

    def sockets(self) -> list[Socket]:
        """List none: the pools do."""
        return []

    def after_fork_in_child(self, parent: Owner) -> None:
        """Begin anew."""
        self._renew()


def system_thread() -> Callable[..., Any]:
    """Give what starts a thread of the operating system, whatever has been patched."""
    start: Callable[..., Any] = _thread.start_new_thread
    if (gevent := sys.modules.get("gevent.monkey")) is not None:
        start = gevent.get_original("_thread", "start_new_thread")
    elif (eventlet := sys.modules.get("eventlet.patcher")) is not None:
        start = eventlet.original("_thread").start_new_thread
    return start


_watchdog = _Watchdog()
