"""Who am I: the process, its forks, what runs in it; the only file with `os.getpid` and `os.register_at_fork`."""

from __future__ import annotations

import atexit
import logging  # noqa: F401 -- first: hooks run in reverse order, and its own holds a lock that those we wait for may need
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ._sockets import Socket, disarm

__all__ = [
    "ForkAware",
    "Owner",
    "Socket",
    "Thread",
    "WeakMembers",
    "after_fork_in_parent",
    "arm_exit",
    "at_exit",
    "current_runner",
    "disarm",
    "fork",
    "get_ready",
    "getpid",
    "go_on",
    "me",
    "note_hookless_fork",
    "own_sockets",
    "owner",
    "unforked",
    "watch",
]

T = TypeVar("T")

getpid = os.getpid

#: Absent on Windows, where no worker of RQ's forks either.
fork: Callable[[], int] = getattr(os, "fork", None)  # type: ignore[assignment]  # whoever calls it runs where it is

#: MADV_WIPEONFORK, of Linux 4.14; Python does not name it.
_WIPE_ON_FORK = 18


class Owner(NamedTuple):
    """Name the process that opened a connection: its pid and how many forks lie behind it."""

    pid: int
    generation: int


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
        pid, owner: Process that the hooks know of, and the same as it is written to connections.
        main_thread: Identifier of the thread in which Python runs the handlers of signals.
        guard: Told of forks after all others, when `own_sockets` is up to date; it looks at connections of others.
    """

    __slots__ = ("armed_by", "exit_callbacks", "guard", "main_thread", "owner", "parent_callbacks", "pid", "watchers")

    def __init__(self) -> None:
        self.pid, self.main_thread = os.getpid(), threading.main_thread().ident
        self.owner = Owner(self.pid, 0)
        self.watchers: WeakMembers[ForkAware] = WeakMembers()
        self.exit_callbacks: list[Callable[[], object]] = []
        self.parent_callbacks: list[Callable[[], object]] = []
        self.armed_by: Owner | None = None
        self.guard: ForkAware | None = None


class _PidMark:
    """Stand for `unforked` where the system can't wipe a page: its first element is false once the pid is another."""

    def __getitem__(self, index: int) -> int:
        return os.getpid() == me.pid

    def __setitem__(self, index: int, value: int) -> None: ...


def _make_mark() -> Any:
    if sys.platform != "linux":
        return _PidMark()
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except OSError:  # an older kernel, or somebody's imitation of one
        return _PidMark()
    page[0] = 1
    return page


#: This process. A lease reads `owner` here directly; everybody else calls `owner()`.
me = _Self()

#: Its first element is 0 after a fork that ran no hook (uWSGI, embedded interpreters): the kernel wipes the page in a
#: child. A look at it costs a tenth of the system call `getpid`, and in a new namespace a child may have the same pid.
unforked = _make_mark()


def owner() -> Owner:
    """
    Tell who this process is now.

    A fork that ran no hook is noticed here, and made up for.
    """
    if not unforked[0]:
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


def after_fork_in_parent(callback: Callable[[], object]) -> None:
    """Call *callback* in this process after each fork that it makes: what `before_fork` has ended goes on."""
    me.parent_callbacks.append(callback)


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
    """Do what the child's hook does, late: none has run."""
    if not unforked[0]:
        _after_fork_in_child()


class Thread:
    """
    Stand for one thread, and die with it: identifiers of threads are used again.

    Attributes:
        work: The unit of work that the thread entered last; see `_work.py`.
    """

    __slots__ = ("__weakref__", "work")

    def __init__(self) -> None:
        self.work: Any = None


class _Here(threading.local):
    """Keep the calling thread's `Thread`."""

    def __init__(self) -> None:
        self.thread = Thread()


_here = _Here()
_loaded = sys.modules


def current_runner() -> object:
    """
    Name what is executing: the running asyncio task, else the greenlet, else the thread. It can be held weakly.

    Context variables can't tell, for they are copied into other tasks and threads. Nothing is imported here: a
    program that has not loaded asyncio or greenlet runs neither. A thread that runs no greenlet stays the same
    runner when one of its tasks loads the package.
    """
    try:  # contextlib.suppress would be three calls in Python, at every lease
        # current_task() raises where no loop runs, which costs more than the whole lease.
        asyncio = _loaded.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 -- documented for event loops
            task: object = asyncio.current_task()
            if task is not None:
                return task
        greenlet = _loaded.get("greenlet")
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


def get_ready() -> None:
    """Let watchers get ready for a fork, whether it comes or not."""
    for watcher in me.watchers.list():
        watcher.before_fork()


def own_sockets() -> list[Socket]:
    """List the sockets that a child may not keep: as of the last fork for those that watchers list only then."""
    return [entry for watcher in me.watchers.list() for entry in watcher.sockets()]


def _before_fork() -> None:
    get_ready()
    if me.guard is not None:
        me.guard.before_fork()


def go_on() -> None:
    """Let what `get_ready` has ended go on, in this process, whether it has forked or not."""
    for callback in me.parent_callbacks:
        callback()


def _after_fork_in_child() -> None:
    parent = me.owner
    me.pid, me.main_thread = os.getpid(), threading.main_thread().ident  # the one that has forked
    me.owner = Owner(me.pid, parent.generation + 1)
    unforked[0] = 1
    watchers = me.watchers.list()
    if me.guard is not None:
        watchers.append(me.guard)
    try:
        disarm([entry for watcher in watchers for entry in watcher.sockets()])
    finally:  # whatever happened: no pool may hand out what the parent opened
        for watcher in watchers:
            watcher.after_fork_in_child(parent)


if hasattr(os, "register_at_fork"):  # absent on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=go_on, after_in_child=_after_fork_in_child)
