"""Sockets of clients that do not tell theirs: found by comparing the process's descriptors, shut when time is up."""

from __future__ import annotations

import _socket
import contextlib
import os
import stat
import threading
from collections.abc import Iterable
from types import TracebackType

from . import _process
from ._process import Owner, Socket
from ._sockets import borrow
from ._watchdog import Deadline

__all__ = ["Finder", "TimeLimit", "marks", "opened_sockets", "peer_of", "present", "process_sockets", "shut"]

#: Where a process lists its own descriptors: Linux; the BSDs and macOS.
_FOLDERS = ("/proc/self/fd", "/dev/fd")


class _Turn:
    """
    Let one finder look at a time, so that no two of them take each other's sockets for their own.

    Attributes:
        earlier: The sockets that were there before what is being opened; None while nothing is.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.earlier: frozenset[Socket] | None = None
        _process.watch(self)

    def before_fork(self) -> None:
        """Nothing is to be done."""

    def sockets(self) -> list[Socket]:
        """There are none."""
        return []

    def after_fork_in_child(self, parent: Owner) -> None:
        """Begin anew: a thread of the parent may have held the lock."""
        self.lock, self.earlier = threading.Lock(), None


_turn = _Turn()


class Finder:
    """
    Find the sockets that are connected when the block has ended, and were not there when it began.

    Blocks of several threads run one after the other, up to *patience_s*. What a thread opens without taskconn
    meanwhile can't be told apart.

    Attributes:
        earlier: The process's sockets as the block began.
        found: Descriptors of those that were opened in it.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._lock: threading.Lock | None = None
        self.earlier: frozenset[Socket] = frozenset()
        self.found: list[Socket] = []

    def __enter__(self) -> Finder:
        lock = _turn.lock
        if lock.acquire(timeout=self._patience_s):
            self._lock = lock
        self.earlier = frozenset(process_sockets())
        if self._lock is not None:
            _turn.earlier = self.earlier
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lock, self._lock = self._lock, None
        try:
            if not self.found:
                self.find()
        finally:
            if lock is not None:
                _turn.earlier = None
                lock.release()

    def find(self) -> None:
        """Look, for a block that has to know before it ends."""
        new = [entry for entry in process_sockets() if entry not in self.earlier]
        self.found = [entry for entry in new if peer_of(entry.fd) is not None]


def marks() -> list[int]:
    """
    Give numbers that change when a descriptor is opened, closed, or becomes another file; as cheaply as can be.

    After a fork each object that is touched costs the copy of a page: so there is one list, and no look at its meaning.
    """
    found: list[int] = []
    for fd in map(int, _descriptors()):
        try:
            about = os.fstat(fd)
        except OSError:  # that of the list itself
            continue
        found += fd, about.st_ino, about.st_dev
    return found


def process_sockets() -> list[Socket]:
    """List the sockets that are open in this process; none on systems that do not tell. One system call for each."""
    found = []
    for name in _descriptors():
        try:
            about = os.fstat(int(name))
        except OSError:  # that of the list itself, or closed meanwhile
            continue
        if stat.S_ISSOCK(about.st_mode):
            found.append(Socket(int(name), about.st_dev, about.st_ino))
    return found


def opened_sockets() -> list[Socket]:
    """List them without those that a finder of another thread waits for, and nobody has yet."""
    begun = _turn.earlier
    found = process_sockets()
    for earlier in (begun, _turn.earlier):  # it may end meanwhile, or begin; what has done both has an owner
        if earlier is not None:
            found = [entry for entry in found if entry in earlier]
    return found


def peer_of(fd: int) -> object:
    """Tell whom a socket is connected to, in a form to be compared; None if to nobody."""
    with contextlib.suppress(OSError), contextlib.closing(borrow(fd)) as end:
        peer = end.getpeername()
        return (end.family, peer) if peer else None  # a pair's ends have no names
    return None


def present(sockets: Iterable[Socket]) -> list[int]:
    """List the descriptors of those *sockets* that are still what was recorded."""
    return [entry.fd for entry in sockets if Socket.of(entry.fd) == entry]


def shut(descriptors: Iterable[int]) -> None:
    """Shut sockets both ways, without a word of protocol: whoever waits for them stops waiting. They stay open."""
    for fd in descriptors:
        with contextlib.suppress(OSError), contextlib.closing(borrow(fd, _socket.AF_UNIX)) as end:
            end.shutdown(_socket.SHUT_RDWR)


class TimeLimit:
    """
    Shut sockets if the block takes longer than *limit_s*: for libraries whose calls can't be given a time.

    They are looked after by the process's one watchdog: starting a thread for each block takes long, and an interrupt
    in the middle of it leaves `threading` an error of its own.
    """

    def __init__(self, limit_s: float, descriptors: Iterable[int]) -> None:
        self._deadlines = [Deadline(fd, limit_s) for fd in descriptors]
        self._entered = contextlib.ExitStack()

    @property
    def has_passed(self) -> bool:
        """Were sockets shut? The block may have ended well in that moment, and what it used is lost all the same."""
        return any(deadline.has_passed for deadline in self._deadlines)

    def __enter__(self) -> TimeLimit:
        try:
            for deadline in self._deadlines:
                self._entered.enter_context(deadline)
        except BaseException:  # an interrupt on the way in
            self._entered.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.close()


def _descriptors() -> list[str]:
    for folder in _FOLDERS:
        with contextlib.suppress(OSError):
            return os.listdir(folder)  # noqa: PTH208 -- names are numbers here, paths would be taken apart again
    return []
