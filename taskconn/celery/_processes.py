"""What every process of a worker does: open early, count, close late. The worker's own part is `_worker.py`."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from typing import Any, ClassVar

import billiard
from celery import _state, signals

from .. import _leftovers, _process, _warmup
from .._entries import Changes
from .._interrupts import note_signals
from .._pool import Pool
from .._registry import Registry
from ..errors import ConfigurationError
from . import _apps, _tasks
from ._board import Board, Slot, own_stats

__all__ = ["TOLD", "connect", "expect_children", "half_of_alive_timeout", "ignore_tasks", "warm_up", "watch_tasks"]

log = logging.getLogger("taskconn")
_loaded = sys.modules

#: Key in an app's configuration that tells a spawned child what a forked one inherits. Celery shows no key with "_".
TOLD = "_taskconn_worker"


class _Here:
    """
    Say what this process is.

    Attributes:
        main_pid: The worker itself; forked children inherit it, spawned ones have None.
        board: Where children count; inherited, or opened by name.
        slot: This child's place on it.
        pools: All that were used, as of `changes`.
        changes: `Changes.number` when they were listed.
        have_twins: Two of them have the same alias, in registries of their own.
        notes_starts: Tasks are described as they begin.
    """

    main_pid: int | None = None
    board: Board | None = None
    slot: Slot | None = None
    pools: ClassVar[list[Pool[object]]] = []
    changes = -1
    have_twins = False
    notes_starts = False


def connect() -> None:
    """Listen to what Celery tells the children of a prefork worker. Other pools have none."""
    signals.worker_process_init.connect(_begin, dispatch_uid="taskconn")
    signals.worker_process_shutdown.connect(_end, dispatch_uid="taskconn")


def expect_children(board: Board | None) -> None:
    """Say that this process is the worker, and on which board the children that it makes are to count."""
    _Here.main_pid = _process.getpid()
    _Here.board = board


def watch_tasks() -> None:
    """Clear up after each task; where an alias has a `deadline`, note when they begin: limits count from there."""
    signals.task_prerun.connect(_before_first_task, dispatch_uid="taskconn limit")
    signals.task_postrun.connect(_after_task, dispatch_uid="taskconn")
    _note_starts_if_asked()


def ignore_tasks() -> None:
    """Stop that: what runs in this process from now on is no worker's task."""
    signals.task_prerun.disconnect(_before_first_task, dispatch_uid="taskconn limit")
    signals.task_prerun.disconnect(_before_task, dispatch_uid="taskconn")
    signals.task_postrun.disconnect(_after_task, dispatch_uid="taskconn")
    _Here.notes_starts = False


def warm_up(registry: Registry, limit_s: float) -> None:
    """
    Open a connection of every alias that is to be warm, within *limit_s* in all; what fails is logged.

    A thread does it, for name servers and callables that give passwords know no time limit: a replacement child that
    takes longer than `worker_proc_alive_timeout` is killed, and the next one too. What comes late is still used.
    """
    try:
        pools = [registry.pool(alias) for alias in registry.aliases()]  # each: see `_note_starts_if_asked`
        if not any(pool.options.warm for pool in pools):
            return
    except Exception as error:  # noqa: BLE001 -- a callable's own; a task would be told
        log.warning("nothing could be opened early in process %d: %s", _process.getpid(), type(error).__name__)
        return
    thread = threading.Thread(
        target=_warmup.warm_up, args=(registry,), kwargs={"within_s": limit_s}, name="taskconn warm-up", daemon=True
    )
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        log.warning("opening early takes longer than %.1f s and goes on, process %d", limit_s, _process.getpid())


def half_of_alive_timeout(app: Any) -> float:
    """Say how long warm-up may take, in seconds."""
    return float(app.conf.get("worker_proc_alive_timeout") or 4.0) / 2


def _is_main() -> bool:
    return _Here.main_pid == _process.getpid()


def _begin(**_: Any) -> None:
    """Begin a child, after its task modules were imported. Solo sends the same signal in the worker itself."""
    if _is_main():
        return
    app = _state.get_current_app()
    _hear(app)
    index = getattr(billiard.current_process(), "index", None)
    if _Here.board is not None and index is not None:
        _Here.slot = Slot(_Here.board, index)
    with contextlib.suppress(ConfigurationError):  # the worker has checked it; a task would be told
        warm_up(_apps.adopt_copy(app), half_of_alive_timeout(app))
    watch_tasks()
    _count()


def _hear(app: Any) -> None:
    """Take over what the worker tells a spawned child."""
    told = app.conf.get(TOLD)
    if _Here.main_pid is None and told is not None:
        _tasks.set_limits(told["limits"])
        if told["board"] is not None:
            with contextlib.suppress(OSError):
                _Here.board = Board.open(told["board"])


def _end(**_: Any) -> None:
    """End a child: `atexit` never runs there, so this is where it says goodbye to its servers."""
    if not _is_main():
        _leftovers.end_process()
        _count()


def _note_starts_if_asked() -> None:
    """Have tasks described as they begin, once a pool with a deadline was made; else their first lease will do."""
    if not _Here.notes_starts and "taskconn._deadlines" in _loaded:
        _Here.notes_starts = True
        signals.task_prerun.connect(_before_task, dispatch_uid="taskconn")


def _before_first_task(**_: Any) -> None:
    """Have the soft limit note what it raises: billiard sets its handler after the child has begun, a task its own."""
    signals.task_prerun.disconnect(_before_first_task, dispatch_uid="taskconn limit")
    note_signals("SIGUSR1")


def _before_task(sender: Any, **_: Any) -> None:
    with contextlib.suppress(ConfigurationError):  # the lease says it to the task
        _tasks.note_start(sender)


def _after_task(sender: Any, **_: Any) -> None:
    """Clear up after the outermost task, when its result has been stored: nothing of it is the next one's."""
    if not _tasks.is_outermost():
        return
    if _Here.changes != Changes.number:
        _list_pools()
    slot, is_quick = _Here.slot, not _Here.have_twins
    for pool in _Here.pools:
        numbers = pool.counters.numbers(pool.members())
        if numbers[-1] or pool.former:  # leased, or kept by a proxy
            is_quick = False
        elif slot is not None and is_quick:
            slot.write_numbers(pool.alias, numbers)
    if not is_quick:
        _leftovers.roll_back_leftovers(sender.name, _Here.pools)
        _count()


def _list_pools() -> None:
    """List the pools anew: some were made, or forgotten."""
    _Here.changes = Changes.number
    _Here.pools = _leftovers.used_pools()
    _Here.have_twins = len({pool.alias for pool in _Here.pools}) != len(_Here.pools)
    _note_starts_if_asked()


def _count() -> None:
    if _Here.slot is not None:
        _Here.slot.write(own_stats())
