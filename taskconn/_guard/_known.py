"""Which clients mind a fork themselves: those of the task systems, of multiprocessing, idle ones in pools that do."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Container
from typing import Any

from . import _bindings
from ._libraries import INFRASTRUCTURE
from ._stacks import Opening, file_of, is_users

__all__ = ["RedisPools", "is_disposed_in_children", "is_infrastructure", "is_written_only"]


def is_infrastructure(opening: Opening) -> bool:
    """Tell whether a task system, or multiprocessing, has opened it for itself: they renew it in their children."""
    return opening.owner in INFRASTRUCTURE


def is_written_only(opening: Opening) -> bool:
    """Tell whether it takes what is written and answers nothing, as logs do: there are no replies to be mixed up."""
    return opening.kind == "log"


def is_disposed_in_children(packages: Container[str]) -> bool:
    """
    Tell whether what came by SQLAlchemy is forgotten in the children, as its manual shows: ``dispose(close=False)``.

    The call may stand in a signal's receiver, in a pool's initializer or in a hook, so that it stands anywhere is taken
    for a yes. Not so with mysqlclient, whose connections say goodbye as they are forgotten.

    Source:
        SQLAlchemy 2.1, "Using Connection Pools with Multiprocessing or os.fork()"; experiments with mysqlclient.
    """
    if "sqlalchemy" not in packages or "MySQLdb" in sys.modules:
        return False
    paths = [file_of(module) for module in list(sys.modules.values())]
    return any(is_users(path) and _bindings.calls_with(path, "dispose", "close", value=False) for path in paths)


class RedisPools:
    """
    Know the connections that lie idle in pools of redis-py: in a child such a pool begins anew.

    One that is taken out of its pool, as by a `PubSub`, and one that never was in any, are shared like all others.

    Source:
        redis-py 8.1, `ConnectionPool._checkpid`; experiments with its `PubSub` and `single_connection_client`.
    """

    def __init__(self) -> None:
        self._pools: list[weakref.ref[Any]] = []

    def has_idle(self, descriptor: int) -> bool:
        """Tell whether *descriptor* is the socket of an idle connection in a pool."""
        known = self._lookup(descriptor)
        if known is None:
            self._discover()
            known = self._lookup(descriptor)
        return bool(known)

    def _lookup(self, descriptor: int) -> bool | None:
        """Say whether it is idle; None if no known pool has it."""
        for reference in self._pools:
            pool = reference()
            if pool is None:
                continue
            if descriptor in _descriptors(_idle(pool)):
                return True
            if descriptor in _descriptors(getattr(pool, "_in_use_connections", ())):
                return False
        return None

    def _discover(self) -> None:
        module: Any = sys.modules.get("redis.connection")
        if module is not None:
            kind = module.ConnectionPool
            self._pools = [weakref.ref(thing) for thing in gc.get_objects() if issubclass(type(thing), kind)]


def _idle(pool: Any) -> list[Any]:
    queue = getattr(getattr(pool, "pool", None), "queue", None)  # of a BlockingConnectionPool
    idle = queue if queue is not None else getattr(pool, "_available_connections", ())
    return [one for one in list(idle) if one is not None]


def _descriptors(connections: Any) -> set[int]:
    found = set()
    for connection in list(connections):
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            found.add(sock.fileno())
    return found
