"""The worker's own part: refuse to start when something is wrong, open early, close late, and tell `inspect stats`."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any

import billiard
import click
from celery import bootsteps, signals
from celery.exceptions import ImproperlyConfigured
from celery.platforms import EX_FAILURE
from celery.worker import state

from .. import _guard, _pool, _process
from .._injection import injected_aliases, is_async_injected
from .._registry import Registry
from ..config import Databases
from ..errors import ConfigurationError, DecorationError
from . import _apps, _processes, _tasks
from ._board import Board, Stats, add, own_stats

__all__ = ["ConnectionsStep", "WorkerRefusedError", "connect"]

log = logging.getLogger("taskconn")


class WorkerRefusedError(click.ClickException, ImproperlyConfigured):
    """
    Say why a worker does not start. The command line shows the message alone and ends with exit code 1.

    Attributes:
        message: What is wrong, why, and what to do; the error that says so is the cause.
    """


class ConnectionsStep(bootsteps.StartStopStep):
    """Check the settings before anything is started; be the first to start and the last to stop."""

    label = "Connections"

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._is_prefork = _is_pool(worker, "celery.concurrency.prefork")
        self._is_spawning = self._is_prefork and (
            getattr(worker, "pool_start_method", "fork") == "spawn" or billiard.get_start_method() != "fork"
        )
        self._board: Board | None = None
        try:
            self._registry = _check(worker.app, must_pickle=self._is_spawning)
            guard_settings = (_apps.setting(worker.app, name.lower()) for name in (_guard.MODE, _guard.ALLOW))
            _guard.start_worker(*guard_settings, when_refused=functools.partial(_end_worker, worker))
        except ConfigurationError as error:
            raise WorkerRefusedError(str(error)) from error

    def include(self, parent: Any) -> bool:
        """Stand in front of the pool: its tasks have ended when the connections are closed."""
        parent.steps.insert(0, self)
        return True

    def start(self, parent: Any) -> None:
        """Say how many tasks run at once, and open what is to be warm: children of prefork do that themselves."""
        hard, soft = parent.time_limit, parent.soft_time_limit
        if self._is_prefork:
            self._start_prefork(parent, (hard, soft))
            return
        _processes.expect_children(None)
        if not _is_pool(parent, "celery.concurrency.solo"):
            _pool.set_concurrency(max(parent.concurrency or 0, parent.max_concurrency or 0) or None)
        if _is_pool(parent, "celery.concurrency.gevent"):
            _tasks.set_limits((hard, None))  # soft limits are ignored there, as both are in the other pools
        _processes.watch_tasks()
        _processes.warm_up(self._registry, _processes.half_of_alive_timeout(parent.app))

    def stop(self, parent: Any) -> None:
        """Say goodbye to the connections of the worker itself."""
        _processes.ignore_tasks()
        self._registry.close()
        if self._board is not None:
            self._board.remove()
        _pool.set_concurrency(None)
        _tasks.set_limits(None)

    def terminate(self, parent: Any) -> None:
        """Do the same in a cold shutdown; what tasks still hold is theirs."""
        self.stop(parent)

    def info(self, parent: Any) -> Any:  # its stubs say None
        """Tell `celery inspect stats` the counters of the worker and all of its children, ended ones too."""
        total: Stats = {}
        add(total, own_stats())
        if self._board is not None:
            add(total, self._board.total())
        return {"taskconn": total}

    def _start_prefork(self, parent: Any, limits: _tasks.Limits) -> None:
        self._board = _make_board(is_named=self._is_spawning)
        _processes.expect_children(self._board)
        _tasks.set_limits(limits)
        if self._is_spawning:
            path = self._board.path if self._board is not None else None
            parent.app.conf.changes[_processes.TOLD] = {"board": path, "limits": limits}


def connect() -> None:
    """Add the step to every worker that starts in this process."""
    signals.worker_init.connect(_join_worker, dispatch_uid="taskconn")
    signals.worker_ready.connect(_note_ready, dispatch_uid="taskconn")


def _join_worker(sender: Any, **_: Any) -> None:
    """Add the step: task modules have been imported, and the blueprint is built afterwards."""
    from . import _control  # noqa: F401, PLC0415 -- registers the command; producers need no part of Celery's worker

    _processes.expect_children(None)  # solo sends worker_process_init before any step is started
    sender.app.steps["worker"].add(ConnectionsStep)


def _note_ready(**_: Any) -> None:
    _guard.worker_is_ready()


def _end_worker(worker: Any) -> None:
    """End the worker: where a timer of its event loop replaces children, what the guard raises is only logged."""
    worker.exitcode = EX_FAILURE
    setattr(state, "should_terminate", EX_FAILURE)  # noqa: B010 -- its stubs say None


def _make_board(*, is_named: bool) -> Board | None:
    try:
        return Board.make_named() if is_named else Board()
    except OSError as error:
        log.warning("children will not be counted in `inspect stats`: %s", error)
        return None


def _check(app: Any, *, must_pickle: bool) -> Registry:
    """
    Look for what would make every task of a kind fail, without connecting.

    Raises:
        ConfigurationError: Settings are malformed, a driver is missing, or a task would never be awaited.
    """
    registry = _apps.adopt(app)
    databases = app.conf.get(_apps.SETTING)
    if must_pickle and isinstance(databases, Databases):
        databases.__reduce__()
    for alias in registry.aliases():
        _check_alias(registry, alias)
    known = set(registry.aliases())
    for task in app.tasks.values():
        for function in _wrapped(task.run):
            if is_async_injected(function):
                raise DecorationError(
                    f"the task {task.name}",
                    "it is `async def`, and Celery calls it without awaiting it, so it would never run",
                    "Write it as `def`, with `asyncio.run(...)` inside if it calls coroutines.",
                )
        missing = {alias for alias in injected_aliases(task.run) if isinstance(alias, str)} - known
        if missing:
            names = ", ".join(map(repr, sorted(missing)))
            log.warning(
                "task %s leases %s, which is not configured; it will fail in process %d",
                task.name,
                names,
                _process.getpid(),
            )
    return registry


def _check_alias(registry: Registry, alias: str) -> None:
    try:
        pool = registry.pool(alias)
        pool.driver.validate(pool.target())
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 -- a callable for URL or password, whose server may be down for now
        log.warning("connection %r could not be checked: %s", alias, type(error).__name__)


def _wrapped(function: Any) -> Iterator[Any]:
    """List *function* and what it wraps: `autoretry_for` and `pydantic` put their own wrappers around ours."""
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


def _is_pool(worker: Any, module: str) -> bool:
    """Tell whether the worker's pool is that of Celery's *module*, or made of it."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(worker.pool_cls, type) and issubclass(worker.pool_cls, loaded.TaskPool)
