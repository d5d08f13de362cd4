"""Give every worker process its own connections, hand one to each task, and settle it when the task ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _guard, _importing
from ._context import current_task, find_pool
from ._generation import advance
from ._guard import guard
from ._injection import with_db
from ._lease import Lease, lease
from ._proxy import proxy
from ._registry import Handle, Registry, close_all, install, installed, process_registry, registries
from ._savepoint import savepoint
from ._work import after_commit
from .errors import TaskconnError

__all__ = [
    "Handle",
    "Lease",
    "Registry",
    "TaskconnError",
    "after_commit",
    "close",
    "configure",
    "guard",
    "lease",
    "proxy",
    "recycle",
    "recycle_all",
    "savepoint",
    "stats",
    "with_db",
]

__version__ = "0.1.0"

_guard.begin_early()
_importing.mind_forks()


def configure(databases: Mapping[str, Any], *, app: Any = None) -> None:
    """
    Say how to connect to each alias. Opens nothing, so it may run before any fork.

    The same again changes nothing. An alias that changes is replaced as a whole: its old connections close when their
    leases end, and names, handles and proxies follow. Explicit settings win over Celery's, RQ's and the environment's.

    Args:
        databases: Alias -> URL, ``"module:attr"``, callable, or mapping with ``url`` and options.
        app: Celery app that the settings are for; None is the whole process.

    Raises:
        ConfigurationError: Something is malformed or unknown; nothing has been changed then.
    """
    if app is None:
        process_registry.configure(databases)
        return
    registry = installed(app)
    if registry is None:
        registry = Registry(above=process_registry, below=process_registry._below)  # noqa: SLF001 -- the root is the package, too
        install(app, registry)
    registry.configure(databases)


def stats() -> dict[str, dict[str, int]]:
    """
    Count what happened to this process's connections since it started.

    Returns:
        Alias -> counter -> number: ``opens``, ``closes``, ``invalidations``, ``discards``, ``leases``, ``commits``,
        ``rollbacks``, ``taints``, ``recycles``, ``waits``, ``health_checks``, ``failed_opens``, and, of this moment,
        ``open`` and ``leased``. An alias that several registries have is added up.
    """
    total: dict[str, dict[str, int]] = {}
    seen: set[int] = set()
    for registry in registries():
        for pool in registry.pools():
            if id(pool) in seen:
                continue
            seen.add(id(pool))
            counts = total.setdefault(pool.alias, {})
            for name, number in pool.stats().items():
                counts[name] = counts.get(name, 0) + number
    return total


def recycle(alias: str | Handle[Any] = "default") -> None:
    """
    Replace this process's connections of *alias* at their next safe moment: at their next use, or after the lease.

    Raises:
        ConfigurationError: There is no such alias.
    """
    if isinstance(alias, Handle):
        alias.registry.recycle(alias.alias)
        return
    pools = [pool for registry in registries() for pool in registry.pools() if pool.alias == alias]
    if not pools:
        find_pool(alias, current_task())  # raises, unless the alias is there and was just never used
    for pool in pools:
        pool.recycle()


def recycle_all() -> None:
    """
    Replace every connection of this process, and of all that share its ancestor, at its next safe moment.

    Those are the processes that were forked from one that has imported taskconn: all of a Celery or RQ worker's, unless
    they are spawned. It may be called in a signal handler.
    """
    advance()


def close() -> None:
    """
    Say goodbye to every connection of this process that no lease, nor another thread's proxy, holds.

    The next lease opens anew.
    """
    close_all()
