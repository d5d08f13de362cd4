"""SQLAlchemy, over any of its dialects: a task gets an ORM session, a connection or an engine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import configure_mappers

from ... import _process
from ..._arguments import refuse_autocommit, refuse_unknown
from ..._process import Owner
from ...driver import Answer, Driver, Peek, Session, Target, run
from ...errors import InvalidSettingsError
from . import _savepoints
from ._connection import Connection, TaskSession
from ._engine import EngineClient, Guarding, make_engine, opening, url_of
from ._libraries import SQLITE_ARGUMENTS, library_of

__all__ = ["Connection", "EngineClient", "SQLAlchemy", "TaskSession"]

#: Arguments of `create_engine` that taskconn has options of its own for, and which.
_REFUSED = {
    "connect_args": "connect_args beside engine_args",
    "creator": "connect",
    "max_overflow": "max_size",
    "pool": "max_size",
    "pool_pre_ping": "health_check_interval",
    "pool_recycle": "max_age",
    "pool_reset_on_return": "transaction",
    "pool_size": "max_size",
    "pool_timeout": "acquire_timeout",
    "pool_use_lifo": "max_size",
    "poolclass": "max_size",
}


#: SQLAlchemy's name of a dialect to the one that taskconn speaks.
_DIALECTS = {"mariadb": "mysql", "mysql": "mysql", "postgresql": "postgresql", "sqlite": "sqlite"}

_SQLITE = {"sqlalchemy+sqlite", "sqlalchemy+sqlite+pysqlite"}


class SQLAlchemy(Driver[Any]):
    """
    Connect by SQLAlchemy: the engine is the process's, the session the lease's, and taskconn's pool the only pool.
    """

    package = "SQLAlchemy"

    def __init__(self) -> None:
        self._engine: tuple[Owner, str, Engine] | None = None
        self._errors: tuple[type[BaseException], ...] = (SQLAlchemyError, OSError)

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """SQLAlchemy's errors, those of the DBAPI library, and the operating system's."""
        return self._errors

    def validate(self, target: Target) -> None:
        """Refuse an URL that SQLAlchemy can't read, and arguments that it or the DBAPI library does not have."""
        if target.scheme in _SQLITE and "uri" not in target.query:  # SQLAlchemy would warn, and go on without
            refuse_unknown(target, target.query, SQLITE_ARGUMENTS)
        dialect: Any = self._make(target).dialect
        known = library_of(dialect.driver).parameters(dialect.loaded_dbapi)
        _, named = dialect.create_connect_args(url_of(target))
        if known is not None:
            refuse_unknown(target, (*named, *target.connect_args), known)

    def open(self, target: Target, timeout_s: float) -> Connection | EngineClient:
        """Connect and log in; the process's first connection asks the server a few things more."""
        inject = target.options.inject
        self.transactional = inject != "engine"
        if inject == "engine":
            self._make(target)
            return EngineClient(target, timeout_s)
        engine = self._engine_of(target)
        self.dialect = _DIALECTS.get(engine.dialect.name, "")
        if inject != "connection":
            # SQLAlchemy does this when a mapped class is first used. A limit that struck there would be taken for a
            # fault of the mapping, and no task of the process could use its classes any more.
            with contextlib.suppress(SQLAlchemyError):  # which the task is to see, when it uses them
                configure_mappers()
        return opening(target, timeout_s, lambda: Connection(engine, injects_session=inject != "connection"))

    def session(self, connection: Connection | EngineClient) -> Session:
        """Give what is known of the connection."""
        return connection.facts

    def sockets(self, connection: Connection | EngineClient) -> Iterable[int]:
        """List its sockets, as they were when it was opened."""
        return connection.sockets()

    def identity(self, connection: Connection | EngineClient) -> str | None:
        """Give the server's id of the session, where the DBAPI library has it."""
        if isinstance(connection, EngineClient):
            return None
        found = library_of(connection.dialect.driver).identity(connection.guard.raw)
        return None if found is None else str(found)

    def is_open(self, connection: Connection | EngineClient) -> bool:
        """Tell whether nobody has closed it."""
        return connection.is_open()

    def peek(self, connection: Connection | EngineClient) -> Peek:
        """Look at its socket."""
        return connection.look()

    def is_alive(self, connection: Connection | EngineClient, timeout_s: float) -> bool:
        """Ping as the dialect does."""
        return connection.ping(timeout_s)

    def ask_identity(self, connection: Connection | EngineClient, timeout_s: float) -> str | None:
        """Ask for it, where the server is known."""
        return None if isinstance(connection, EngineClient) else connection.guard.ask_identity(timeout_s)

    def ask(self, connection: Connection | EngineClient, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement of taskconn's own."""
        if isinstance(connection, EngineClient):
            raise NotImplementedError("an engine has several sessions")
        return connection.guard.ask(statement, timeout_s)

    def cancel(self, connection: Connection | EngineClient, timeout_s: float) -> bool | None:
        """Interrupt SQLite, which is no server; elsewhere a second session does it."""
        if isinstance(connection, EngineClient):
            return False
        if connection.dialect.name != "sqlite":
            return None
        connection.guard.raw.interrupt()
        return True

    def has_pending_reply(self, connection: Connection | EngineClient) -> bool:
        """Tell whether a reply was cut off, rows were not read, or the task keeps a connection of an engine."""
        return connection.has_unread()

    def expose(self, connection: Connection | EngineClient) -> Any:
        """Give the lease's ORM session, the connection, or the engine."""
        return connection.expose()

    def retract(self, connection: Connection | EngineClient) -> None:
        """Close the session for good."""
        connection.retract()

    def flush(self, connection: Connection | EngineClient) -> None:
        """Flush the session."""
        connection.flush()

    def is_settled(self, connection: Connection | EngineClient) -> bool:
        """Tell whether nothing was sent since the last COMMIT or ROLLBACK, and nothing is kept back."""
        return connection.is_settled()

    def commit(self, connection: Connection | EngineClient, timeout_s: float) -> None:
        """Commit the session, and what else was begun."""
        connection.settle(is_commit=True, timeout_s=timeout_s)

    def rollback(self, connection: Connection | EngineClient, timeout_s: float) -> None:
        """Roll all of it back."""
        connection.settle(is_commit=False, timeout_s=timeout_s)

    def savepoint(self, connection: Connection, name: str) -> None:
        """Begin a nested transaction of the session's, or of the connection's."""
        _savepoints.begin(connection, name)

    def release(self, connection: Connection, name: str) -> None:
        """Flush, and end the nested transaction; nothing if `rollback_to` has ended it."""
        _savepoints.release(connection, name)

    def rollback_to(self, connection: Connection, name: str) -> None:
        """Roll the nested transaction back, which ends it."""
        _savepoints.rollback_to(connection, name)

    def run(self, connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run a statement over the DBAPI's connection, which is the session's too."""
        if connection.dialect.paramstyle == "qmark":
            statement = statement.replace("%s", "?")
        return run(connection.connection.cursor(), statement, parameters)

    def restore(self, connection: Connection | EngineClient) -> None:
        """Put back isolation level, autocommit and execution options."""
        connection.restore()

    def reset(self, connection: Connection | EngineClient, timeout_s: float) -> None:
        """Close: only a new connection is clean in every dialect."""
        connection.finish(timeout_s)

    def close(self, connection: Connection | EngineClient, timeout_s: float) -> None:
        """Say goodbye and close."""
        connection.finish(timeout_s)

    def invalidate(self, connection: Connection | EngineClient) -> None:
        """Shut the socket."""
        connection.drop()

    def discard(self, connection: Connection | EngineClient) -> None:
        """
        Keep the object for ever: collected, SQLAlchemy would roll back and the DBAPI library close.

        Source:
            Experiment: a connection that was checked out at the fork and is dropped in the child sends ROLLBACK.
        """
        connection.immortalise()

    def resource(self, target: Target) -> str | None:
        """Name the file of a SQLite database, which makes the rules of SQLite apply."""
        if url_of(target).get_backend_name() != "sqlite":
            return None
        self.closes_before_fork = True
        path = target.database
        return None if not path or path == ":memory:" else os.path.realpath(path)

    def _engine_of(self, target: Target) -> Engine:
        """Give this process's engine. That of an ancestor is left alone: its locks may be held for ever."""
        owner = _process.owner()
        kept = self._engine
        if kept is None or kept[0] is not owner or kept[1] != target.scheme:
            engine = self._make(target)
            Guarding(engine)
            self._engine = kept = owner, target.scheme, engine
        return kept[2]

    def _make(self, target: Target) -> Engine:
        arguments = target.options.engine_args or {}
        for name in arguments:
            if name in _REFUSED:
                problem = f"engine_args has {name!r}, and taskconn's pool is the pool"
                raise InvalidSettingsError(target.alias, problem, f"Write the option {_REFUSED[name]!r} instead.")
        if arguments.get("isolation_level") == "AUTOCOMMIT":
            refuse_autocommit(target, "isolation_level='AUTOCOMMIT'")
        if "+" not in target.scheme:
            problem = "its URL does not say what SQLAlchemy is to connect to"
            raise InvalidSettingsError(
                target.alias, problem, "Write sqlalchemy+mysql+pymysql://user:password@host/database."
            )
        try:
            engine = make_engine(target)
        except (SQLAlchemyError, TypeError, ImportError) as error:
            problem = f"SQLAlchemy can't make an engine of it ({error})"
            remedy = "Write sqlalchemy+ and an URL of SQLAlchemy's, and install the package that it connects with."
            raise InvalidSettingsError(target.alias, problem, remedy) from error
        if engine.dialect.is_async:
            problem = f"{engine.dialect.driver!r} is a driver for asyncio"
            raise InvalidSettingsError(
                target.alias, problem, "Name one that waits, such as pymysql, psycopg or pysqlite."
            )
        self.dialect = _DIALECTS.get(engine.dialect.name, "")
        with contextlib.suppress(AttributeError):
            self._errors = (SQLAlchemyError, OSError, engine.dialect.loaded_dbapi.Error)
        return engine
