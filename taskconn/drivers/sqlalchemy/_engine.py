"""Engines: one for each process, made when first needed, whose every DBAPI connection is guarded."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import sqlalchemy
from sqlalchemy import event, exc, pool
from sqlalchemy.engine import URL, Engine, ExceptionContext

from ..._arguments import label
from ..._descriptors import Finder
from ..._interrupts import is_interrupt
from ..._process import getpid
from ...driver import Peek, Session, Target, peek
from ...errors import TaskconnError
from ._dbapi import GuardedConnection, unwrap
from ._guard import Guard, immortalise
from ._libraries import library_of

__all__ = ["EngineClient", "Guarding", "make_engine", "opening", "url_of"]

T = TypeVar("T")

#: Where a connection's record keeps, until it is guarded, which sockets were found and what it was opened with.
_FRESH = "taskconn"

_NOT_AGAIN = (
    "taskconn opens one connection for each lease, and this one would be another: the lease's own was closed, "
    "invalidated or interrupted, or its engine was asked for one. A task that wants connections from an engine "
    "says inject='engine'."
)


def url_of(target: Target) -> URL:
    """Write *target* as SQLAlchemy's URL: its scheme without taskconn's prefix."""
    driver = target.scheme.partition("+")[2]
    return URL.create(
        driver, target.user, target.password, target.host, target.port, target.database, dict(target.query)
    )


class Opening(NamedTuple):
    """
    Say where to connect, for the one connection that is being opened.

    Attributes:
        target: Where to, and how.
        timeout_s: How long it may take.
    """

    target: Target
    timeout_s: float


#: What is being opened here and now; SQLAlchemy asks for connections without saying what for.
_opening: ContextVar[Opening | None] = ContextVar("taskconn_sqlalchemy_opening", default=None)


def opening(target: Target, timeout_s: float, call: Callable[[], T]) -> T:
    """Let *call* open one connection to *target*."""
    token = _opening.set(Opening(target, timeout_s))
    try:
        return call()
    finally:
        _opening.reset(token)


class Guarding:
    """
    Open the connections of one engine, and guard them.

    Args:
        engine: Whose; it is told by SQLAlchemy's events.
        always: What its connections are opened by where none of taskconn's is being opened; None: then it opens none.
        client: Gets to know each guard, if it has several.
    """

    def __init__(self, engine: Engine, always: Opening | None = None, client: EngineClient | None = None) -> None:
        self._always = always
        self._client = client
        self._dialect: Any = engine.dialect
        self._library = library_of(self._dialect.driver)
        self._dialect.get_driver_connection = unwrap  # type: ignore[method-assign]  # what is handed out is unguarded
        if client is not None:
            event.listen(engine, "checkout", self.check)
        event.listen(engine, "do_connect", self.connect)
        event.listen(engine, "connect", self.guard)
        event.listen(engine, "handle_error", _keep_original)

    def connect(self, dialect: Any, record: Any, given: Any, named: Any) -> Any:
        """Connect as the opening says, and find the sockets where the library will not tell."""
        opening = _opening.get() or self._always
        if opening is None:
            raise exc.InvalidRequestError(_NOT_AGAIN)
        target, timeout_s = opening
        library = self._library
        given, own = dialect.create_connect_args(url_of(target))
        own = {**library.timeout_arguments(timeout_s), **dict(library.defaults), **own, **target.connect_args}
        if library.label and target.options.label:
            own.setdefault(library.label, label(target.alias))
        record.info[_FRESH] = [], own
        hurried = library.hurry(own, timeout_s)
        if library.tells_socket:
            return dialect.connect(*given, **hurried)
        with Finder(timeout_s) as finder:
            raw = dialect.connect(*given, **hurried)
        record.info[_FRESH] = finder.found, own
        return raw

    def guard(self, raw: Any, record: Any) -> None:
        """Put the guard in the connection's place: SQLAlchemy's own preparations are over."""
        opening = _opening.get() or self._always
        found, own = record.info.pop(_FRESH)
        self._library.unhurry(raw, own)
        guard = Guard(opening.target.alias if opening else "", raw, self._dialect, self._library)
        guard.record(found)
        if self._client is not None:
            self._client.add(guard)
        record.dbapi_connection = GuardedConnection(guard)

    def check(self, connection: Any, record: Any, proxied: Any) -> None:
        """Replace what was interrupted or has gone while it lay in the engine's own pool."""
        if connection.guard.is_beyond_use() or peek(connection.guard.sockets()) is not Peek.QUIET:
            raise exc.DisconnectionError("the connection was interrupted, or has gone")


def make_engine(target: Target, **arguments: Any) -> Engine:
    """Make an engine for *target*, without its password: the opening has it, and it may be another one each time."""
    own = {"poolclass": pool.NullPool, **(target.options.engine_args or {})}
    return sqlalchemy.create_engine(url_of(target).set(password=None), **{**own, **arguments})


class EngineClient:
    """
    An engine with a pool of its own, for one lease at a time. One connection stays open, further ones do not.

    Attributes:
        facts: What is known of it without a round trip.
    """

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.facts = Session(target.alias, getpid())
        self._guards: weakref.WeakSet[Guard] = weakref.WeakSet()
        self._engine = make_engine(target, poolclass=pool.QueuePool, pool_size=1, max_overflow=-1)
        Guarding(self._engine, Opening(target, timeout_s), self)
        self._engine.connect().close()
        self.facts.sent = 0

    def __repr__(self) -> str:
        return f"<EngineClient {self.facts.alias!r} of process {self.facts.owner_pid}>"

    def add(self, guard: Guard) -> None:
        """Count what is sent through *guard* as this client's."""
        guard.counts_for = self.facts
        self._guards.add(guard)

    def expose(self) -> Engine:
        """Give what the task gets."""
        return self._engine

    def retract(self) -> None:
        """Nothing ends with a lease."""

    def flush(self) -> None:
        """Nothing is kept back."""

    def settle(self, *, is_commit: bool, timeout_s: float) -> None:
        """Leave it to the task, which settles what it begins."""

    def restore(self) -> None:
        """SQLAlchemy's pool does that."""

    def is_open(self) -> bool:
        """Tell whether it can open connections, which is always."""
        return True

    def is_settled(self) -> bool:
        """Tell whether the task has returned all connections."""
        return not self.has_unread()

    def has_unread(self) -> bool:
        """Tell whether the task has kept a connection."""
        return any(not guard.is_closed for guard in self._guards) and self._checked_out() > 0

    def sockets(self) -> list[int]:
        """List the sockets of all of its connections."""
        return [fd for guard in list(self._guards) for fd in guard.sockets()]

    def look(self) -> Peek:
        """Nothing is to be seen: its pool looks at each connection."""
        return Peek.QUIET

    def ping(self, timeout_s: float) -> bool:
        """Ask the server for a round trip on each connection."""
        return all(guard.ping(timeout_s) for guard in list(self._guards) if not guard.is_closed)

    def finish(self, timeout_s: float) -> None:
        """Say goodbye on all connections."""
        for guard in list(self._guards):
            guard.end(timeout_s)
        self._engine.dispose()

    def drop(self) -> None:
        """Shut all sockets."""
        for guard in list(self._guards):
            guard.cut()
        self._engine.dispose()

    def immortalise(self) -> None:
        """Keep the library's objects, which must neither be closed nor collected in this process."""
        immortalise(self)
        for guard in list(self._guards):
            immortalise(guard)
            immortalise(guard.raw)

    def _checked_out(self) -> int:
        own_pool: Any = self._engine.pool
        return int(own_pool.checkedout())


def _keep_original(context: ExceptionContext) -> BaseException | None:
    """Keep SQLAlchemy from wrapping a limit that strikes while it prepares a statement, or an error of ours."""
    original = context.original_exception
    is_wrapped = context.sqlalchemy_exception is not None
    return original if is_wrapped and (is_interrupt(original) or isinstance(original, TaskconnError)) else None
