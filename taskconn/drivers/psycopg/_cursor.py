"""What psycopg's cursors do beyond the library's: interrupts pass; a process that does not own them says nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from ..._interrupts import heard
from ._guarded import GuardedConnection

__all__ = ["Cursor", "ServerCursor"]


class Cursor(psycopg.Cursor[Any]):
    """A cursor whose COPY and pipeline, when they are interrupted, let the interrupt pass."""

    _conn: GuardedConnection

    def executemany(self, *arguments: Any, **named: Any) -> None:
        """Run one statement for each of several sets of parameters, in a pipeline."""
        try:
            heard(super().executemany, *arguments, **named)
        except psycopg.Error:
            raise
        except BaseException as interrupt:
            self._conn.note(interrupt)  # psycopg was about to begin or to end its pipeline
            raise

    @contextlib.contextmanager
    def copy(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        """Begin a COPY."""
        with self._conn.leaving(super().copy(*arguments, **named)) as copy:
            yield copy


class ServerCursor(psycopg.ServerCursor[Any]):
    """A cursor that lives at the server, and is never closed there by a process that does not own it."""

    _conn: GuardedConnection

    def close(self) -> None:
        """Close; at the server too, if that can be."""
        if self._conn.is_beyond_use():
            self._closed = True
        else:
            super().close()
