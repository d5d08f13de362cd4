"""SQLAlchemy's connection and session as a task gets them, and as the driver settles them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import sqlalchemy.engine
import sqlalchemy.orm
from sqlalchemy.exc import InvalidRequestError

from ..._interrupts import errors_ignored
from ..._process import getpid
from ...driver import Peek, Session, peek
from ._guard import Guard, immortalise
from ._limits import unmasked

__all__ = ["Connection", "TaskSession"]


class TaskSession(sqlalchemy.orm.Session):
    """An ORM session of one lease. It asks before a task settles by hand what is not its own."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(bind=connection, close_resets_only=False)
        self.guard = connection.guard

    def begin(self, nested: bool = False) -> sqlalchemy.orm.SessionTransaction:  # noqa: FBT001, FBT002 -- SQLAlchemy's
        """Begin a transaction by hand, or a savepoint."""
        if not nested:
            self._refuse("begin")
        return super().begin(nested=nested)

    execute: Any = unmasked(sqlalchemy.orm.Session.execute)
    scalar: Any = unmasked(sqlalchemy.orm.Session.scalar)
    scalars: Any = unmasked(sqlalchemy.orm.Session.scalars)
    get: Any = unmasked(sqlalchemy.orm.Session.get)
    refresh: Any = unmasked(sqlalchemy.orm.Session.refresh)

    @unmasked
    def commit(self) -> None:
        """Commit by hand."""
        self._refuse("commit")
        super().commit()

    @unmasked
    def rollback(self) -> None:
        """Roll back by hand."""
        self._refuse("rollback")
        super().rollback()

    def close(self) -> None:
        """Roll back by hand and forget all objects. As with any session, it may be used again."""
        self._refuse("close")
        self.reset()

    flush: Any = unmasked(sqlalchemy.orm.Session.flush)

    def finish(self) -> None:
        """End for good: the lease is over."""
        super().close()

    def settle(self, *, is_commit: bool) -> None:
        """Commit or roll back, for the lease."""
        if is_commit:
            super().commit()
        else:
            super().rollback()

    def has_unsent(self) -> bool:
        """Tell whether objects were added, changed or deleted and nothing was sent of it."""
        return bool(self.new or self.deleted or self.dirty)

    def _refuse(self, verb: str) -> None:
        if self.guard.refusal is not None:
            self.guard.refusal(verb)


class Connection(sqlalchemy.engine.Connection):
    """
    A connection of one process, checked out for good: taskconn's pool is the pool.

    Attributes:
        guard: The guard of the DBAPI's connection.
        savepoints: Nested transactions of taskconn's savepoints, by name: the session's or own one, and the own one.
    """

    def __init__(self, engine: sqlalchemy.engine.Engine, *, injects_session: bool) -> None:
        super().__init__(engine)
        self.guard: Guard = self.connection.dbapi_connection.guard  # type: ignore[union-attr]  # ours, put there at connect
        self._injects_session = injects_session
        self._orm: TaskSession | None = None
        self._at_open = self._execution_options
        self.savepoints: dict[str, tuple[Any, Any]] = {}
        self.guard.has_unsent = _Unsent(self)
        self.guard.sent = 0

    def __repr__(self) -> str:
        state = "open" if self.is_open() else "closed"
        return f"<Connection {self.guard.alias!r} of process {self.guard.owner_pid}, {state}>"

    # -- what the task calls -----------------------------------------------------------------------------

    execute: Any = unmasked(sqlalchemy.engine.Connection.execute)
    exec_driver_sql: Any = unmasked(sqlalchemy.engine.Connection.exec_driver_sql)
    scalar: Any = unmasked(sqlalchemy.engine.Connection.scalar)
    scalars: Any = unmasked(sqlalchemy.engine.Connection.scalars)

    @unmasked
    def commit(self) -> None:
        """Commit by hand."""
        self._refuse("commit")
        super().commit()

    @unmasked
    def rollback(self) -> None:
        """Roll back by hand."""
        self._refuse("rollback")
        super().rollback()

    def close(self) -> None:
        """Close by hand, which rolls back. An inherited connection is left alone."""
        if self.guard.owner_pid == getpid():
            self._refuse("close")
            self.guard.closed_by_hand = True
            super().close()

    # -- what the driver calls ---------------------------------------------------------------------------

    @property
    def facts(self) -> Session:
        """What is known of it without a round trip."""
        return self.guard

    def expose(self) -> Any:
        """Give what the task gets: this, or the lease's session."""
        if not self._injects_session:
            return self
        if self._orm is None:
            self._orm = TaskSession(self)
        return self._orm

    def retract(self) -> None:
        """End the lease's session, which is of no use afterwards."""
        orm, self._orm = self._orm, None
        with errors_ignored():
            if orm is not None:
                orm.finish()
            if self.in_transaction():  # begun by hand, and nothing was sent
                super().rollback()

    def flush(self) -> None:
        """Send what the session has kept back."""
        if self._orm is not None and self._orm.has_unsent():
            self._orm.flush()

    def settle(self, *, is_commit: bool, timeout_s: float) -> None:
        """
        Commit or roll back: the session's transaction, the connection's, and what was sent past both.

        Raises:
            SQLAlchemyError: As SQLAlchemy does; or its state does not fit (an interrupt struck in its own code).
            DBAPI errors: What was sent past SQLAlchemy can't be settled.
        """
        guard, orm = self.guard, self._orm
        with guard.within(timeout_s), guard.settling(), _as_an_error_of_sqlalchemys():
            guard.close_cursors()
            if orm is not None and orm.in_transaction():
                orm.settle(is_commit=is_commit)
            if self.in_transaction() and is_commit:
                super().commit()
            elif self.in_transaction():
                super().rollback()
            if is_commit:
                guard.commit()
            else:
                guard.rollback()

    def restore(self) -> None:
        """Put back isolation level, autocommit and execution options."""
        if self._orm is not None:
            self._orm.reset()
        if self.in_transaction():
            super().rollback()
        guard = self.guard
        guard.close_cursors()
        if not self._is_changed():
            return
        proxied: Any = self.connection
        callbacks = proxied._connection_record.finalize_callback  # noqa: SLF001 -- run by SQLAlchemy's pools at check-in
        while callbacks:
            callbacks.pop()(proxied.dbapi_connection)
        if guard.is_touched:
            self.dialect.reset_isolation_level(proxied.dbapi_connection)
        self._execution_options = self._at_open
        if self._at_open:
            self.dialect.set_connection_execution_options(self, self._at_open)
        guard.rollback()
        guard.is_touched = False

    def is_open(self) -> bool:
        """Tell whether nobody has closed it."""
        return not self.closed and not self.invalidated and self.guard.is_open()

    def has_unread(self) -> bool:
        """Tell whether a reply is pending, or half read."""
        return self.guard.has_unread()

    def is_settled(self) -> bool:
        """Tell whether nothing was sent, kept back, or half read."""
        guard = self.guard
        return not (guard.is_dirty or guard.has_unread() or (self._orm is not None and self._orm.has_unsent()))

    def sockets(self) -> list[int]:
        """List its sockets."""
        return self.guard.sockets()

    def look(self) -> Peek:
        """Look at the sockets, without waiting."""
        return peek(self.guard.sockets())

    def ping(self, timeout_s: float) -> bool:
        """Ask the server for a round trip."""
        return self.guard.ping(timeout_s)

    def finish(self, timeout_s: float) -> None:
        """Say goodbye and close."""
        self.guard.end(timeout_s)
        self._forget()

    def drop(self) -> None:
        """Shut the socket."""
        self.guard.cut()
        self._forget()

    def immortalise(self) -> None:
        """Keep the library's objects, which must neither be closed nor collected in this process."""
        immortalise(self)
        immortalise(self.guard.raw)

    def _safe_close_cursor(self, cursor: Any) -> None:
        """Close, as SQLAlchemy does, which swallows every `Exception` here: a limit has to get through."""
        with contextlib.suppress(self.dialect.loaded_dbapi.Error):
            cursor.close()

    def has_unsent(self) -> bool:
        """Tell whether the lease has something to settle or to put back that no statement shows."""
        return self._is_changed() or (self._orm is not None and self._orm.has_unsent())

    def _is_changed(self) -> bool:
        return self.guard.is_touched or self._execution_options is not self._at_open

    def _forget(self) -> None:
        """Let SQLAlchemy know: there is nothing left that it could say."""
        self.retract()
        with errors_ignored():
            super().close()

    def _refuse(self, verb: str) -> None:
        if self.guard.refusal is not None:
            self.guard.refusal(verb)


class _Unsent:
    """Tell whether a connection has something to be settled that no statement shows. It is held weakly."""

    __slots__ = ("_of",)

    def __init__(self, connection: Connection) -> None:
        self._of = weakref.ref(connection)

    def __call__(self) -> bool:
        connection = self._of()
        return connection is not None and connection.has_unsent()


@contextlib.contextmanager
def _as_an_error_of_sqlalchemys() -> Iterator[None]:
    """Raise what SQLAlchemy trips over, where an interrupt left its objects half changed, as an error of its own."""
    try:
        yield
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise InvalidRequestError(f"{type(error).__name__}: {error}") from error
