"""Stand-ins for a DBAPI connection and its cursors: what is done with them goes through the guard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ..._process import getpid
from ._guard import Guard, immortalise

__all__ = ["GuardedConnection", "GuardedCursor", "unwrap"]

#: Attributes of DBAPI connections that change how statements are committed.
_MODES = frozenset({"autocommit", "isolation_level", "set_isolation_level", "set_session", "deferrable", "read_only"})

#: Methods of some libraries that begin another session, which would not have what this one has begun.
_SESSIONS = frozenset({"connect", "reconnect"})

#: Longest wait for a goodbye that SQLAlchemy says by itself, in seconds.
_GOODBYE_S = 1.0


class GuardedCursor:
    """Pass on what is done with a cursor. SQLAlchemy makes one for each statement, and closes it."""

    __slots__ = ("__weakref__", "_guard", "_raw")

    def __init__(self, guard: Guard, raw: Any) -> None:
        object.__setattr__(self, "_guard", guard)
        object.__setattr__(self, "_raw", raw)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # an interrupt in the constructor
            if self._guard.owner_pid != getpid():
                immortalise(self._raw)

    def __getattr__(self, name: str) -> Any:
        if name in GuardedCursor.__slots__:  # an interrupt in the constructor; looking for it there would never end
            raise AttributeError(name)
        value = getattr(self._raw, name)
        return _counted(self._guard, value) if callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._raw, name, value)

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def __enter__(self) -> GuardedCursor:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Run one statement."""
        guard = self._guard
        guard.remember(self)
        return guard.statement(self._raw.execute, *arguments, **named)

    def executemany(self, *arguments: Any, **named: Any) -> Any:
        """Run one statement for each of several sets of parameters."""
        self._guard.remember(self)
        return self._guard.statement(self._raw.executemany, *arguments, **named)

    def fetchone(self) -> Any:
        """Fetch the next row."""
        return self._guard.exchange(self._raw.fetchone)

    def fetchmany(self, *arguments: Any, **named: Any) -> Any:
        """Fetch some rows."""
        return self._guard.exchange(self._raw.fetchmany, *arguments, **named)

    def fetchall(self) -> Any:
        """Fetch all rows that are left."""
        return self._guard.exchange(self._raw.fetchall)

    def close(self) -> None:
        """Close. Destructors do too: nothing happens where nothing may be said."""
        if not self._guard.is_beyond_use() and self._raw is not None:
            self._guard.exchange(self._raw.close)


class GuardedConnection:
    """Pass on what is done with a DBAPI connection."""

    __slots__ = ("guard",)

    guard: Guard

    def __init__(self, guard: Guard) -> None:
        object.__setattr__(self, "guard", guard)

    def __repr__(self) -> str:
        return f"<GuardedConnection {self.guard.alias!r} of process {self.guard.owner_pid}>"

    def __getattr__(self, name: str) -> Any:
        if name == "guard":  # as for cursors
            raise AttributeError(name)
        guard = self.guard
        value = getattr(guard.raw, name)
        if callable(value):
            if name in _SESSIONS:
                guard.refuse_another_session()
            guard.is_touched = guard.is_touched or name in _MODES
            return _counted(guard, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        guard = self.guard
        guard.refuse_others()
        if name in _MODES:
            guard.is_touched = True
            guard.count()
        setattr(guard.raw, name, value)

    def cursor(self, *arguments: Any, **named: Any) -> GuardedCursor:
        """Make a cursor; one that can only refuse, where nothing may be said."""
        guard = self.guard
        if guard.interrupt or guard.owner_pid != getpid():
            return GuardedCursor(guard, _Refused())  # SQLAlchemy would wrap what is raised here
        return GuardedCursor(guard, guard.cursor(*arguments, **named))

    def commit(self) -> None:
        """Commit, by whatever object of SQLAlchemy's."""
        if self.guard.refusal is not None and not self.guard.is_settling:
            self.guard.refusal("commit")
        self.guard.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.guard.rollback()

    def close(self) -> None:
        """Close. An inherited connection is left alone."""
        self.guard.end(_GOODBYE_S)


class _Refused:
    """Stand for a cursor that can't be made any more; the guard refuses before any of this is called."""

    description = None
    rowcount = -1

    def execute(self, *arguments: Any, **named: Any) -> None:
        """Never run."""

    executemany = fetchone = fetchmany = fetchall = close = execute


def unwrap(connection: Any) -> Any:
    """
    Give the DBAPI's own connection to whoever asks for SQLAlchemy's ``driver_connection``.

    What is done with it is not seen, so that the lease is settled, and client-side autocommit restored, in any case.
    """
    if not isinstance(connection, GuardedConnection):
        return connection
    guard = connection.guard
    guard.refuse_others()
    guard.is_touched = guard.is_dirty = True
    guard.count()
    return guard.raw


def _counted(guard: Guard, call: Callable[..., Any]) -> Callable[..., Any]:
    """Take a method that PEP 249 does not have for one that sends something."""

    def counted(*arguments: Any, **named: Any) -> Any:
        return guard.statement(call, *arguments, **named)

    return counted
