"""Who am I: the process, its forks, what runs in it; the only file with `os.getpid` and `os.register_at_fork`."""

from __future__ import annotations

import _socket
import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

__all__ = [
    "ForkAware",
    "Owner",
    "Socket",
    "WeakMembers",
    "arm_exit",
    "at_exit",
    "current_runner",
    "getpid",
    "me",
    "note_hookless_fork",
    "owner",
    "watch",
]

T = TypeVar("T")

#: Bound once: a lease calls it on the way in and on the way out.
getpid = os.getpid


class Owner(NamedTuple):
    """Name the process that opened a connection: its pid and how many forks lie behind it."""

    pid: int
    generation: int


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


class ForkAware(Protocol):
    """Be told of forks. Registered weakly by `watch`; called for every way to fork that CPython knows."""

    def before_fork(self) -> None:
        """Get ready in the parent: close what may not be inherited, refresh `sockets`."""

    def sockets(self) -> list[Socket]:
        """List the sockets that a child may not keep, as they were recorded in the parent."""

    def after_fork_in_child(self, parent: Owner) -> None:
        """Forget what the parent owned, and renew locks. Must not log, speak, or call a driver that does."""


class WeakMembers(Generic[T]):
    """
    Hold members weakly, and list them in one step, also while another thread adds one or the process forks.

    `weakref.WeakSet` iterates in Python code, and a fork may catch it half way.
    """

    def __init__(self) -> None:
        self._refs: dict[int, weakref.ref[Any]] = {}

    def __len__(self) -> int:
        return len(self._refs)

    def add(self, member: T) -> None:
        """Add *member*; it leaves by itself when nobody else holds it."""
        refs, key = self._refs, id(member)
        refs[key] = weakref.ref(member, lambda _: refs.pop(key, None))

    def remove(self, member: T) -> None:
        """Remove *member* if it is one."""
        self._refs.pop(id(member), None)

    def list(self) -> list[T]:
        """List the members that are alive."""
        return [member for ref in list(self._refs.values()) if (member := ref()) is not None]


class _Self:
    """
    Hold what a fork changes; one per process image.

    Attributes:
        pid: Process that the hooks know of; another `getpid` means that a fork has run no hook.
        owner: The same, as it is written to connections.
    """

    __slots__ = ("armed_by", "exit_callbacks", "owner", "pid", "watchers")

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.owner = Owner(self.pid, 0)
        self.watchers: WeakMembers[ForkAware] = WeakMembers()
        self.exit_callbacks: list[Callable[[], object]] = []
        self.armed_by: Owner | None = None


#: This process. A lease reads `pid` and `owner` here directly; everybody else calls `owner()`.
me = _Self()


def owner() -> Owner:
    """
    Tell who this process is now.

    A fork that ran no hook (uWSGI, embedded interpreters) is noticed here by the pid and made up for.
    """
    if os.getpid() != me.pid:
        note_hookless_fork()
    return me.owner


def watch(watcher: ForkAware) -> None:
    """Call *watcher* at every fork, for as long as somebody else keeps it alive."""
    me.watchers.add(watcher)


def at_exit(callback: Callable[[], object]) -> None:
    """
    Call *callback* when this process, or a child that multiprocessing made of it, ends by itself.

    A child of multiprocessing leaves by ``os._exit`` and runs no `atexit`, only multiprocessing's own finalizers,
    which it clears when it starts: so they are armed anew by `arm_exit` in each process that opens something.
    """
    me.exit_callbacks.append(callback)


def arm_exit() -> None:
    """See to it that the callbacks of `at_exit` run at the end of this process; called at each open."""
    if me.armed_by is me.owner:
        return
    if me.armed_by is None:
        atexit.register(_run_exit_callbacks)
    me.armed_by = me.owner
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # Before multiprocessing joins its own children (priority 0 and above run first, highest first).
        util.Finalize(None, _run_exit_callbacks, exitpriority=100)


def _run_exit_callbacks() -> None:
    for callback in me.exit_callbacks:
        callback()


def note_hookless_fork() -> None:
    """Do what the child's hook does, late: the pid has changed and no hook has run."""
    if os.getpid() != me.pid:
        _after_fork_in_child()


class _Thread:
    """Stand for one thread, and die with it: identifiers of threads are used again."""

    __slots__ = ("__weakref__",)


class _Here(threading.local):
    """Keep the calling thread's `_Thread`."""

    def __init__(self) -> None:
        self.thread = _Thread()


_here = _Here()


def current_runner() -> object:
    """
    Name what is executing: the running asyncio task, else the greenlet, else the thread. It can be held weakly.

    Context variables can't tell, for they are copied into other tasks and threads. Nothing is imported here: a
    program that has not loaded asyncio or greenlet runs neither. A thread that runs no greenlet stays the same
    runner when one of its tasks loads the package.
    """
    modules = sys.modules
    try:  # contextlib.suppress would be three calls in Python, at every lease
        asyncio = modules.get("asyncio")
        # current_task() raises where no loop runs, which costs more than the whole lease.
        if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 -- documented for event loops
            task: object = asyncio.current_task()
            if task is not None:
                return task
        greenlet = modules.get("greenlet")
        if greenlet is not None:
            current: Any = greenlet.getcurrent()
            if current.parent is not None:
                return current
    except AttributeError:  # being imported
        pass
    return _here.thread


def is_in_greenlet() -> bool:
    """Tell whether a greenlet runs that is not its thread's own, so that others may run while it waits."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and greenlet.getcurrent().parent is not None


def _before_fork() -> None:
    for watcher in me.watchers.list():
        watcher.before_fork()


def _after_fork_in_child() -> None:
    parent = me.owner
    me.pid = os.getpid()
    me.owner = Owner(me.pid, parent.generation + 1)
    watchers = me.watchers.list()
    try:
        _disarm([entry for watcher in watchers for entry in watcher.sockets()])
    finally:  # whatever happened: no pool may hand out what the parent opened
        for watcher in watchers:
            watcher.after_fork_in_child(parent)


def _disarm(inherited: list[Socket]) -> None:
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


if hasattr(os, "register_at_fork"):  # absent on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
