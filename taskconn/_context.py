"""What a task system tells the core: `TaskContext`. The integrations fill it in; no lower layer imports them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from ._interrupts import add_interrupts, is_interrupt
from ._pool import Pool
from ._registry import Handle, Registry, default_registry

__all__ = ["TaskContext", "current_task", "find_pool", "is_interrupt", "is_task_object", "register"]

#: Loaded package -> the module of ours that tells about its tasks, imported at the first call after it was loaded.
#: So the decorator works where no include ran: in producers, in eager and in direct calls.
_INTEGRATIONS = {"celery": "taskconn.celery", "rq": "taskconn.rq"}

#: Classes, as (module, name), whose instances stand for a task and are no functions.
_TASK_CLASSES = frozenset(
    # The second is what celery.local.Proxy, made by @shared_task, says of itself.
    {("celery.local", "PromiseProxy"), ("celery.local", "celery.local"), ("celery.app.task", "Task")},
)


class TaskContext:
    """
    Describe the task that runs now.

    Attributes:
        key: Identity of this attempt. Leases of different keys never join; None joins what is there (a direct call).
        system: Name of the task system: ``"celery"``, ``"rq"``.
        task_id: The task system's id of the task.
        name: Name of the task's function.
        registry: Where its aliases are looked up; None is the process's.
        deadline: Monotonic time, in seconds, at which a limit ends the task; None if there is none.
        returns_commit: Says of a returned value whether it means success (RQ's ``Retry`` does not).
        entry: Gives the function that the task system calls.
        repetition: What tells executions apart that have one id and are no attempts of the same (RQ's ``Repeat``).
    """

    __slots__ = ("deadline", "entry", "key", "name", "registry", "repetition", "returns_commit", "system", "task_id")

    def __init__(  # noqa: PLR0913 -- a record, without the machinery of `dataclasses`, which takes long to import
        self,
        key: object,
        system: str,
        task_id: str,
        name: str,
        registry: Registry | None = None,
        *,
        deadline: float | None = None,
        returns_commit: Callable[[object], bool] | None = None,
        entry: Callable[[], object] | None = None,
        repetition: str = "",
    ) -> None:
        self.key = key
        self.system = system
        self.task_id = task_id
        self.name = name
        self.registry = registry
        self.deadline = deadline
        self.returns_commit = returns_commit
        self.entry = entry
        self.repetition = repetition


_loaded = sys.modules
_pending = tuple(_INTEGRATIONS)
_sources: list[Callable[[], TaskContext | None]] = []


def register(source: Callable[[], TaskContext | None], *, interrupts: tuple[type[BaseException], ...] = ()) -> None:
    """
    Add a task system.

    Args:
        source: Gives the context of the task that runs in the calling thread or greenlet; None if none does. It is
            called at every lease, so it has to be quick.
        interrupts: Ordinary exceptions (subclasses of `Exception`) that a limit throws into the middle of a task.
    """
    _sources.append(source)
    add_interrupts(interrupts)


def current_task() -> TaskContext | None:
    """Describe the task that runs in the calling thread or greenlet; None outside of tasks."""
    for package in _pending:
        if package in _loaded:
            _load_integrations()
            break
    for source in _sources:
        task = source()
        if task is not None:
            return task
    return None


def find_pool(alias: str | Handle[Any], task: TaskContext | None) -> Pool[Any]:
    """Look *alias* up: in its handle's registry, else in that of the running task, else outside of tasks."""
    if isinstance(alias, Handle):
        return alias.registry.pool(alias.alias)
    registry = task.registry if task is not None else None
    return (default_registry() if registry is None else registry).pool(alias)


def is_task_object(candidate: Any) -> bool:
    """Tell whether *candidate* is a task system's object for a task, without evaluating a lazy one."""
    # type(), never isinstance(): looking at a PromiseProxy's __class__ evaluates it and registers the task.
    return any((cls.__module__, cls.__qualname__) in _TASK_CLASSES for cls in type(candidate).__mro__)


def _load_integrations() -> None:
    """Import what tells about the tasks of the packages that are loaded; another thread waits until that is done."""
    global _pending  # noqa: PLW0603 -- replaced as a whole: read at every lease, by any thread
    for package in _pending:
        loaded = sys.modules.get(package)
        if loaded is None or _is_being_imported(loaded):
            continue
        is_own = not hasattr(loaded, "__path__")  # a module of the user's that has the same name
        if is_own or not _is_being_imported(importlib.import_module(_INTEGRATIONS[package])):  # by this very thread
            _pending = tuple(name for name in _pending if name != package)


def _is_being_imported(module: Any) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
