"""Cursors of psycopg2 whose statements go through their connection's guard, whatever class the task asks for."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import psycopg2
from psycopg2 import extensions

__all__ = ["guarded"]

T = TypeVar("T")


class _Guard(Protocol):
    """What a cursor needs of its connection."""

    def exchange(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T: ...
    def refuse_others(self) -> None: ...
    def is_inherited(self) -> bool: ...


class _Guarded(extensions.cursor):
    """A cursor that asks its connection before it sends; one with a name lives at the server, and fetching sends."""

    connection: _Guard  # type: ignore[assignment]  # ours, always

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Run one statement."""
        return self.connection.exchange(super().execute, *arguments, **named)

    def executemany(self, *arguments: Any, **named: Any) -> Any:
        """Run one statement for each of a sequence of arguments."""
        return self.connection.exchange(super().executemany, *arguments, **named)

    def callproc(self, *arguments: Any, **named: Any) -> Any:
        """Call a function of the server's."""
        return self.connection.exchange(super().callproc, *arguments, **named)

    def copy_from(self, *arguments: Any, **named: Any) -> Any:
        """Copy a file into a table."""
        return self.connection.exchange(super().copy_from, *arguments, **named)

    def copy_to(self, *arguments: Any, **named: Any) -> Any:
        """Copy a table into a file."""
        return self.connection.exchange(super().copy_to, *arguments, **named)

    def copy_expert(self, *arguments: Any, **named: Any) -> Any:
        """Run a COPY statement."""
        return self.connection.exchange(super().copy_expert, *arguments, **named)

    def fetchone(self) -> Any:
        """Fetch the next row."""
        return self._fetch(super().fetchone)

    def fetchmany(self, *arguments: Any, **named: Any) -> list[Any]:
        """Fetch the next rows."""
        return self._fetch(super().fetchmany, *arguments, **named)

    def fetchall(self) -> list[Any]:
        """Fetch all rows that are left."""
        return self._fetch(super().fetchall)

    def scroll(self, *arguments: Any, **named: Any) -> None:
        """Move in the result."""
        self._fetch(super().scroll, *arguments, **named)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # as psycopg2's own classes have it
        if self.name is not None:
            self.connection.refuse_others()
        return super().__iter__()

    def __next__(self) -> Any:
        return self._fetch(super().__next__)

    def close(self) -> None:
        """Close; at the server too if it lives there still, but never at a parent's."""
        if self.name is None:
            super().close()
        elif not self.connection.is_inherited():
            with contextlib.suppress(psycopg2.ProgrammingError):  # its transaction has ended, and it with that
                super().close()

    def _fetch(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        if self.name is None:
            return call(*arguments, **named)
        return self.connection.exchange(call, *arguments, **named)


@functools.cache
def guarded(factory: Any) -> Any:
    """Give *factory*, a cursor class, with the guard before it; what is no class is left as it is."""
    if not isinstance(factory, type) or issubclass(factory, _Guarded):
        return factory
    return type(factory.__name__, (_Guarded, factory), {"__module__": __name__, "__doc__": factory.__doc__})
