"""`proxy`: a stand-in for a connection that is safe to keep as a module global, in any process and thread."""

from __future__ import annotations

import operator
from typing import Any, TypeVar, overload

from . import _process
from ._context import current_task, find_pool
from ._holds import Hold, PerRunner, keep_for_proxies, unsettled_before
from ._registry import Handle
from ._work import active_work
from .errors import ConfigurationError

__all__ = ["Proxy", "proxy"]

C = TypeVar("C")


@overload
def proxy(alias: Handle[C]) -> C: ...
@overload
def proxy(alias: str = "default") -> Any: ...
def proxy(alias: str | Handle[Any] = "default") -> Any:
    """
    Make a stand-in whose every use reaches the connection of the current process and thread, opened when first used.

    Inside a lease of the alias it is the lease's connection. Outside it is settled by hand, as the driver has it
    (``conn.commit()``), kept until its thread or greenlet ends, and closed at the process's end.

    Args:
        alias: Name or handle of the connection. It is looked up at each use, so that nothing need be configured yet.
    """
    return Proxy(alias)


class Proxy:
    """Pass every use on to the connection that belongs to whoever uses it; see `proxy`."""

    __slots__ = ("__weakref__", "_taskconn_alias", "_taskconn_entered")

    def __init__(self, alias: str | Handle[Any]) -> None:
        object.__setattr__(self, "_taskconn_alias", alias)
        object.__setattr__(self, "_taskconn_entered", PerRunner[list[tuple[Any, Any]]]())

    def __repr__(self) -> str:
        return f"<taskconn.proxy {self._taskconn_alias!r}>"

    @property  # type: ignore[misc]  # isinstance() asks the object for its class, and is to be told the connection's
    def __class__(self) -> type:
        try:
            pool = find_pool(self._taskconn_alias, current_task())
        except ConfigurationError:
            return Proxy
        return pool.driver.connection_type or type(_connection(self))

    def __getattr__(self, name: str) -> Any:
        return getattr(_connection(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_connection(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_connection(self), name)

    def __dir__(self) -> list[str]:
        return dir(self.__class__)

    def __enter__(self) -> Any:
        connection = _connection(self)
        result = type(connection).__enter__(connection)
        _entered(self).append((connection, _process.owner()))
        # Clients that return themselves are answered for by the proxy, which knows when they have gone.
        return self if result is connection else result

    def __exit__(self, *details: object) -> Any:
        connection, owner = _entered(self).pop()
        if owner is not _process.owner():  # a fork inside the block: the parent ends it
            return None
        return type(connection).__exit__(connection, *details)

    def __getitem__(self, key: Any) -> Any:
        return operator.getitem(_connection(self), key)

    def __setitem__(self, key: Any, value: Any) -> None:
        operator.setitem(_connection(self), key, value)

    def __delitem__(self, key: Any) -> None:
        operator.delitem(_connection(self), key)

    def __contains__(self, key: Any) -> bool:
        return operator.contains(_connection(self), key)


def _entered(of: Proxy) -> list[tuple[Any, Any]]:
    """List the connections whose ``with`` block the current runner is in, by this proxy."""
    runner = _process.current_runner()
    entered = of._taskconn_entered.get(runner)
    if entered is None:
        entered = []
        of._taskconn_entered.set(runner, entered)
    return entered  # type: ignore[no-any-return]  # set by object.__setattr__, past the checker


def _connection(of: Proxy) -> Any:
    """Give the connection that *of* stands for, here and now."""
    task, owner = current_task(), _process.owner()
    pool = find_pool(of._taskconn_alias, task)
    work = active_work(task)
    lease = work.leases.get(pool) if work is not None else None
    if lease is not None:
        return lease.connection
    if pool.shared is not None:
        return pool.shared
    runner = _process.current_runner()
    holds = keep_for_proxies(pool) if pool.holds is None else pool.holds
    hold = holds.get(runner)
    if hold is None and pool.former:
        hold = unsettled_before(pool, runner)
    # Lent, and the lease not found above: it is that of a task around this one.
    if hold is None or hold.is_lent or hold.pooled.owner is not owner or not _is_fit(hold):
        hold = Hold(pool, pool.acquire(f"proxy {pool.alias!r}"), runner)
        holds.set(runner, hold)
    expose = hold.pool.expose
    return hold.pooled.connection if expose is None else expose(hold.pooled.connection)


def _is_fit(hold: Hold) -> bool:
    """Check a connection that the proxy keeps as the pool would at a lease, unless it has an open transaction."""
    pool, pooled = hold.pool, hold.pooled
    if not hold.is_usable:
        return False
    if not pool.driver.is_open(pooled.connection):
        pool.close(pooled)
        return False
    return not hold.is_settled or pool.refresh(pooled)
