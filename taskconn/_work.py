"""The unit of work: the leases that one runner holds for one task, and what waits for their commit."""

from __future__ import annotations

import functools
import logging
import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec

from . import _process
from ._context import TaskContext, current_task, is_interrupt
from ._pool import Pool
from ._process import Owner, Thread, current_runner

__all__ = ["UnitOfWork", "active_work", "after_commit", "enter_work", "unended_leases"]

P = ParamSpec("P")
log = logging.getLogger("taskconn")


class UnitOfWork:
    """
    List the open leases of one runner (thread, greenlet, asyncio task) within one task.

    Attributes:
        owner: Process that it belongs to; a child never joins its parent's.
        runner: Gives the thread, greenlet or asyncio task, see `current_runner`; None once that has gone. Held weakly,
            for a runner's own context holds its unit of work.
        key: Identity of the task's attempt, see `TaskContext`; None outside of tasks.
        outer: The unit of work that a nested task interrupts.
        leases: Open leases that own a connection, by pool.
        callbacks: What `after_commit` was given, in order.
        committed: Aliases that were committed while others were still open.
    """

    __slots__ = ("callbacks", "committed", "key", "leases", "outer", "owner", "runner")

    def __init__(self, owner: Owner, runner: object, key: object, outer: UnitOfWork | None) -> None:
        self.owner = owner
        self.runner = weakref.ref(runner)
        self.key = key
        self.outer = outer
        self.leases: dict[Pool[Any], Any] = {}  # of Lease, which stands above
        self.callbacks: list[Callable[[], object]] = []
        self.committed: list[str] = []

    def root(self, pool: Pool[Any]) -> Any:
        """
        Give the open lease of *pool*, to be joined; None if there is none.

        A signal whose handler raises just as a ``with`` block calls ``__exit__`` leaves a lease open that nobody holds,
        see `Exit`. Joined, it would never be settled: it is dropped here.
        """
        lease = self.leases.get(pool)
        if lease is not None and sys.getrefcount(lease) <= _NOBODYS:
            log.warning("connection %r: a lease that nobody holds is dropped in process %d", pool.alias, self.owner.pid)
            lease.drop()
            return None
        return lease

    def is_held(self) -> bool:
        """Is a lease open? One that nobody holds is dropped: it would keep callbacks from running, too."""
        for pool in list(self.leases):
            self.root(pool)
        return bool(self.leases)

    def run_callbacks(self) -> None:
        """
        Run what waited for the commit, in order; one that raises is reported and stops no other.

        Raises:
            BaseException: An interrupt.
        """
        callbacks, self.callbacks = self.callbacks, []  # one that leases begins anew here
        for number, callback in enumerate(callbacks, 1):
            try:
                callback()
            except BaseException as exception:
                if is_interrupt(exception):
                    if left := [_name(one) for one in callbacks[number:]]:
                        _report_uncalled(callback, exception, left)
                    raise
                log.exception(_FAILED, _name(callback), _process.getpid())


_FAILED = "after_commit: %s failed in process %d; the commit stands, and the other callbacks run"
_CUT_SHORT = "after_commit: %s was interrupted by %s in process %d; the commit stands, not called any more: %s"


def _report_uncalled(callback: Callable[[], object], interrupt: BaseException, left: list[str]) -> None:
    """Log what is lost; the interrupt itself goes on to the task system."""
    log.error(_CUT_SHORT, _name(callback), type(interrupt).__name__, _process.getpid(), left)


def _name(callback: Callable[[], object]) -> str:
    """Name what is called, for people: a function, or the method of a Celery task."""
    function = getattr(callback, "func", callback)  # inside of the partial that `after_commit` makes
    task = getattr(getattr(function, "__self__", None), "name", None)
    if isinstance(task, str):
        return f"{task}.{function.__name__}"
    return getattr(function, "__qualname__", None) or repr(function)


def _references_of_nobody() -> int:
    """Count the references to an object as `UnitOfWork.root` does, if none but its dictionary holds it."""
    leases = {0: object()}
    lease = leases.get(0)
    return sys.getrefcount(lease)


_NOBODYS = _references_of_nobody()

#: The unit of work that an asyncio task or greenlet entered last. Copied into other ones and threads, so its runner is
#: compared each time. A thread's own is kept by its `Thread`, which is quicker to ask and copied nowhere.
_current: ContextVar[UnitOfWork | None] = ContextVar("taskconn_work", default=None)


def _last_work(runner: object, owner: Owner) -> UnitOfWork | None:
    """Give the unit of work that *runner*, which is the calling one, entered last in this process."""
    work: UnitOfWork | None = runner.work if type(runner) is Thread else _current.get()
    return work if work is not None and work.owner is owner and work.runner() is runner else None


def active_work(task: TaskContext | None) -> UnitOfWork | None:
    """Give the unit of work that a lease of *task* taken here and now would join; None if there is none."""
    work = _last_work(current_runner(), _process.owner())
    if work is None:
        return None
    while not (is_held := work.is_held()) and work.outer is not None:  # nested tasks that have ended
        work = work.outer
    if not is_held or (task is not None and task.key is not None and task.key != work.key):
        return None
    return work


def enter_work(task: TaskContext | None, owner: Owner) -> UnitOfWork:
    """Give the unit of work for a lease of *task* taken here and now; a nested task gets one of its own."""
    runner = current_runner()
    work: UnitOfWork | None = runner.work if type(runner) is Thread else _last_work(runner, owner)
    key = None if task is None else task.key
    if work is None or work.owner is not owner:
        work = None
    else:
        while not (is_held := work.leases and work.is_held()) and work.outer is not None:
            work = work.outer
        if is_held:
            if key is None or key == work.key:
                return work
        elif work.outer is None:
            work.key = key
            if work.callbacks or work.committed:  # left by a lease that an interrupt tore out of its end
                work.callbacks.clear()
                work.committed.clear()
            return work
    work = UnitOfWork(owner, runner, key, work)
    if type(runner) is Thread:
        runner.work = work
    else:
        _current.set(work)
    return work


def unended_leases(*, of_tasks_only: bool) -> list[Any]:
    """
    List the leases that the calling runner holds in this process, innermost first.

    Args:
        of_tasks_only: Leave out those that were taken outside of tasks.
    """
    work = _last_work(current_runner(), _process.owner())
    found: list[Any] = []
    while work is not None:
        if work.key is not None or not of_tasks_only:
            found += reversed(work.leases.values())
        work = work.outer
    return found


def after_commit(callback: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """
    Call *callback* when the current unit of work has committed: after its outermost lease, whatever its alias.

    Callbacks run in order, once; a rollback drops them, and that of a savepoint those that were given in it. Outside of
    leases the callback runs at once, and what it raises is the caller's.

    Args:
        callback: What to call, such as ``send_mail.delay``. What it raises is logged with its name: the commit stands,
            the task succeeds, and the callbacks after it run. An interrupt (a time limit) goes through, and those
            after it are logged as not called.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    work = active_work(current_task())
    if work is None:
        callback(*args, **kwargs)
    else:
        work.callbacks.append(functools.partial(callback, *args, **kwargs))
