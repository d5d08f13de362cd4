"""A thread that acts at a deadline: it shuts a socket, or cancels, for libraries that wait in C, deaf to signals."""

from __future__ import annotations

import _socket
import _thread
import contextlib
import sys
import time
from _queue import SimpleQueue
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from . import _process
from ._process import Owner, Socket

__all__ = ["Deadline", "Timed", "arm", "disarm", "shut", "system_thread"]

_monotonic = time.monotonic
_NEVER = float("inf")
#: Longest wait for the thread's end before a fork, in seconds.
_FAREWELL_S = 1.0


def shut(fd: int) -> None:
    """Shut a socket in both directions, without a word of its protocol; who waits for it wakes up. It stays open."""
    with contextlib.suppress(OSError):
        sock = _socket.socket(fileno=fd)
        try:
            sock.shutdown(_socket.SHUT_RDWR)
        finally:
            sock.detach()


class Timed(Protocol):
    """
    Something to be done at a deadline, by the watchdog's thread: quickly, and without raising.

    Attributes:
        at: Monotonic time, in seconds.
    """

    at: float

    def pass_(self) -> None:
        """Do it; called once."""


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
        try:
            arm(self)
        except BaseException:  # an interrupt on the way in: nobody would disarm it
            disarm(self)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not disarm(self):
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
        self.armed: dict[int, Timed] = {}
        self._news: SimpleQueue[None] = SimpleQueue()
        self._wakes_at = _NEVER
        self._is_running = self._is_to_end = False
        self._farewells: SimpleQueue[None] = SimpleQueue()

    def start(self) -> None:
        """Start the thread if there is none. At the interpreter's end there can be none: then nothing is bounded."""
        if not self._is_running:
            with contextlib.suppress(RuntimeError):
                self._is_running = True
                system_thread()(self._run, ())

    def arm(self, deadline: Timed) -> None:
        """Look after *deadline* from now on."""
        self.armed[id(deadline)] = deadline
        if deadline.at < self._wakes_at:
            self._news.put(None)

    def _run(self) -> None:
        # 1. `arm` adds a deadline, then reads when the thread wakes. 2. The thread says that it sleeps for ever, then
        # reads the deadlines, then says when it wakes. So whatever it has not read finds it late, and wakes it.
        while not self._is_to_end:
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
        self._farewells.put(None)

    # -- forks (`_process.ForkAware`): the thread is not there in a child -------------------------------------

    def before_fork(self) -> None:
        """End the thread, which may be in the middle of something; `resume` starts it again in the parent."""
        if self._is_running:
            self._is_to_end = True
            self._news.put(None)
            with contextlib.suppress(Exception):  # `_queue.Empty`: it is slow, and will end
                self._farewells.get(timeout=_FAREWELL_S)

    def resume(self) -> None:
        """Look after what is armed again, in the parent after a fork."""
        if self._is_to_end:
            armed = self.armed
            self._renew()  # the old thread, if it is late, has the old queue
            self.armed = armed
            if armed:
                self.start()

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
_process.after_fork_in_parent(_watchdog.resume)


def arm(deadline: Timed) -> None:
    """Have *deadline* pass when it is time, unless it is disarmed before."""
    _watchdog.resume()  # a fork that failed did not
    _watchdog.start()
    _watchdog.arm(deadline)


def disarm(deadline: Timed) -> bool:
    """Take *deadline* back; False if the thread has it already, or it was not armed."""
    return _watchdog.armed.pop(id(deadline), None) is not None
