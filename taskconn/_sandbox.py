"""A test's sandbox: one connection for all leases of an alias, each behind a savepoint, rolled back at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _process
from ._pool import Pool
from ._pooled import Pooled
from ._registry import override
from ._settle import roll_back
from .driver import Answer, Driver, Session, Target
from .errors import AcquireTimeoutError, InheritedConnectionError, InvalidSettingsError, ManualSettlementError
from .options import Options

__all__ = ["open_sandbox"]


@contextmanager
def open_sandbox(pool: Pool[Any]) -> Iterator[Any]:
    """Put a sandbox in the place of *pool*'s alias; see `taskconn.testing.sandbox`."""
    alias, driver = pool.alias, pool.driver
    if not driver.transactional or pool.options.transaction == "none":
        raise InvalidSettingsError(
            alias,
            "a sandbox can't roll back what is not in a transaction",
            "Write `taskconn.testing.override(...)` with a connection of your own.",
        )
    pooled = pool.acquire("a sandbox")
    session, previous = pooled.session, None
    session.refusal = _refuser(alias)
    try:
        driver.savepoint(pooled.connection, "taskconn_sandbox")  # it begins the transaction, in SQLite
        previous = override(alias, SandboxPool(pool, pooled))
        yield pooled.connection
    finally:
        override(alias, previous)
        session.refusal = None
        session.sent = 1
        if pooled.owner is _process.owner():
            roll_back(pool, pooled, pool.options.settle_timeout)


class SandboxPool(Pool[Any]):
    """Give each lease of an alias the sandbox's one connection, behind a savepoint of its own."""

    def __init__(self, pool: Pool[Any], base: Pooled[Any]) -> None:
        options = Options(**{**pool.options.as_dict(), "max_age": None, "max_size": None, "reset": False})
        self._savepoints = _Savepoints(pool.driver)
        super().__init__(pool.alias, self._savepoints, pool.target, options)
        self.shared = base.connection
        self._pool = pool
        self._base = base
        self._thread = threading.get_ident()

    def acquire(self, holder: object) -> Pooled[Any]:
        """
        Set a savepoint.

        Raises:
            AcquireTimeoutError: Another thread asks.
            InheritedConnectionError: A forked child asks.
        """
        base, now = self._base, time.monotonic()
        if base.owner is not _process.owner():
            raise InheritedConnectionError(self.alias, base.owner.pid, _process.getpid())
        if threading.get_ident() != self._thread:
            raise AcquireTimeoutError(
                self.alias, 0, 1, f"a sandbox, which is one thread's, {base.describe_holder(now)}"
            )
        self._savepoints.begin(base.connection)
        pooled = Pooled(base.connection, base.session, base.owner, now, float("inf"), float("inf"))
        pooled.taken_at = now
        pooled.holder = holder
        self._count_as_used(pooled)
        return pooled

    def put_back(self, pooled: Pooled[Any]) -> None:
        """Leave the connection to the lease around this one, which has sent something by now."""
        pooled.holder = None
        pooled.session.refusal = _refuser(self.alias)
        self._count_as_used(pooled)

    def _count_as_used(self, pooled: Pooled[Any]) -> None:
        """Have every lease settled, for the statements of all count on one session."""
        pooled.session.sent = 1

    def invalidate(self, pooled: Pooled[Any], *, is_tainted: bool = False) -> None:
        """Drop the sandbox's connection: it is not to be trusted, and all that was done in it is gone."""
        pooled.is_gone = True
        pooled.holder = None
        if not self._base.is_gone:
            self._pool.invalidate(self._base, is_tainted=is_tainted)

    def close(self, pooled: Pooled[Any]) -> None:
        """Close nothing: the sandbox does."""
        self.put_back(pooled)


class _Savepoints(Driver[Any]):
    """Settle by savepoints, through the driver that the connection has."""

    package = "taskconn"
    counts_statements = False

    def __init__(self, driver: Driver[Any]) -> None:
        self._driver = driver
        self.dialect = driver.dialect
        self._names: list[str] = []
        self.connection_type = driver.connection_type  # type: ignore[misc]  # of this one instance

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        return self._driver.errors

    def begin(self, connection: Any) -> None:
        name = f"taskconn_{len(self._names) + 1}"
        self._driver.savepoint(connection, name)
        self._names.append(name)

    @property
    def has_savepoints(self) -> bool:
        return self._driver.has_savepoints

    def savepoint(self, connection: Any, name: str) -> None:
        self._driver.savepoint(connection, name)

    def release(self, connection: Any, name: str) -> None:
        self._driver.release(connection, name)

    def rollback_to(self, connection: Any, name: str) -> None:
        self._driver.rollback_to(connection, name)

    def run(self, connection: Any, statement: str, parameters: Sequence[Any] = ()) -> Answer:
        return self._driver.run(connection, statement, parameters)

    def open(self, target: Target, timeout_s: float) -> Any:
        raise NotImplementedError  # a sandbox opens nothing

    def session(self, connection: Any) -> Session:
        return self._driver.session(connection)

    def sockets(self, connection: Any) -> Iterable[int]:
        return ()

    def is_open(self, connection: Any) -> bool:
        return self._driver.is_open(connection)

    def is_alive(self, connection: Any, timeout_s: float) -> bool:
        return True

    def has_pending_reply(self, connection: Any) -> bool:
        return self._driver.has_pending_reply(connection)

    def commit(self, connection: Any, timeout_s: float) -> None:
        self._driver.release(connection, self._names[-1])
        self._names.pop()

    def rollback(self, connection: Any, timeout_s: float) -> None:
        self._driver.rollback_to(connection, self._names[-1])
        self._driver.release(connection, self._names.pop())

    def close(self, connection: Any, timeout_s: float) -> None: ...

    def invalidate(self, connection: Any) -> None: ...


def _refuser(alias: str) -> Any:
    def refuse(verb: str) -> None:
        raise ManualSettlementError(alias, verb, "a test's sandbox is open, which rolls everything back at its end")

    return refuse
