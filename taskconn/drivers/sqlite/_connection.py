"""A SQLite connection and its cursors: they know their process, count statements, and close what is half read."""

from __future__ import annotations

import contextlib
import ctypes
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, TypeVar

from ..._process import getpid
from ..._server_errors import hear_limit, number_of, undone_words
from ...driver import Session
from ...errors import InheritedConnectionError

__all__ = ["Connection", "Cursor"]

T = TypeVar("T")


class Cursor(sqlite3.Cursor):
    """A cursor that counts statements, and refuses to work in a process that does not own its connection."""

    connection: Connection
    #: May there be rows left to fetch? Then it holds a lock.
    is_reading = False

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """Run one statement."""
        self.connection.begin_statement()
        self._run(super().execute, sql, parameters)
        self.is_reading = self.description is not None
        return self

    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        """Run one statement for each of *parameters*."""
        self.connection.begin_statement()
        self._run(super().executemany, sql, parameters)
        return self

    def executescript(self, sql_script: str, /) -> Cursor:
        """Run several statements. The module commits what is open before it begins."""
        connection = self.connection
        connection.begin_statement()
        if connection.in_transaction:
            connection.refuse("executescript")
        session = connection.session
        undone, refusal, session.refusal = session.undone, session.refusal, None
        try:
            self._run(super().executescript, sql_script)  # Python 3.10 calls `commit()` for it, open transaction or not
        except sqlite3.Error:
            session.undone = undone  # what was open before has been committed
            raise
        finally:
            session.refusal = refusal
        return self

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, which sees the end
        self.connection.refuse_others()
        yield from iter(super().__next__, object())  # `super().__iter__()` is this cursor again
        self.is_reading = False

    def fetchone(self) -> Any:
        """Fetch the next row."""
        self.connection.refuse_others()
        row = self._run(super().fetchone)
        self.is_reading = row is not None
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Fetch the next *size* rows."""
        self.connection.refuse_others()
        return self._run(super().fetchmany, self.arraysize if size is None else size)

    def fetchall(self) -> list[Any]:
        """Fetch all rows that are left."""
        self.connection.refuse_others()
        rows = self._run(super().fetchall)
        self.is_reading = False
        return rows

    def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call what may be ended by another thread when the task's time is over; the task then gets its limit."""
        connection = self.connection
        was_in_transaction = connection.in_transaction
        try:
            return call(*arguments)
        except sqlite3.Error as error:
            session = connection.session
            if was_in_transaction and not connection.in_transaction:  # a full disk, an interrupt, INSERT OR ROLLBACK
                session.undone = number_of(error)
            if session.deadline is not None and isinstance(error, sqlite3.OperationalError):
                hear_limit(session.deadline, error)
            raise

    def close(self) -> None:
        """Close, and let go of the lock."""
        super().close()
        self.is_reading = False


def _counted(name: str) -> Any:
    """Make an attribute whose change counts as a statement although it sends nothing, so that it is put back."""
    base: Any = getattr(sqlite3.Connection, name)

    def change(self: Connection, value: Any) -> None:
        self.session.sent += 1
        base.__set__(self, value)

    return property(base.__get__, change, doc=base.__doc__)


class Connection(sqlite3.Connection):
    """A connection of one process. It remembers its cursors, for a half-read one holds a lock and an old snapshot."""

    isolation_level = _counted("isolation_level")
    row_factory = _counted("row_factory")
    text_factory = _counted("text_factory")

    def __init__(self, *arguments: Any, session: Session, **settings: Any) -> None:
        self.session = session
        self.is_closed = False
        self._cursors: set[weakref.ref[Any]] = set()
        super().__init__(*arguments, **settings)
        self._at_open = self._client_state()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return f"<Connection {self.session.alias!r} of process {self.session.owner_pid}, {state}>"

    def __del__(self) -> None:
        if self.session.owner_pid != getpid():  # a fork without hooks: closing would delete the parent's journal
            self.immortalise()

    # -- what the task calls -----------------------------------------------------------------------------

    def cursor(self, factory: Any = Cursor) -> Any:
        """Make a cursor."""
        self.refuse_others()
        cursor = super().cursor(factory)
        if not isinstance(cursor, Cursor):
            self.session.sent += 1  # a class of the task's own, which does not count
        return self._remember(cursor)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Run one statement on a new cursor."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        """Run one statement for each of *parameters* on a new cursor."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Any:
        """Run several statements on a new cursor."""
        return self.cursor().executescript(sql_script)

    def blobopen(self, *arguments: Any, **options: Any) -> Any:
        """Open a value as a file (Python 3.11)."""
        self.begin_statement()
        return self._remember(super().blobopen(*arguments, **options))  # type: ignore[misc]  # not in 3.10

    def backup(self, *arguments: Any, **options: Any) -> None:
        """Copy the database."""
        self.refuse_others()
        super().backup(*arguments, **options)

    def commit(self) -> None:
        """Commit by hand."""
        self.refuse_others()
        self.refuse("commit")
        super().commit()
        self.session.undone = 0

    def rollback(self) -> None:
        """Roll back by hand."""
        self.refuse_others()
        self.refuse("rollback")
        super().rollback()
        self.session.undone = 0

    def close(self) -> None:
        """Close by hand, which rolls back. An inherited connection is left alone."""
        if self.session.owner_pid != getpid():
            return
        self.refuse("close")
        self.session.closed_by_hand = True
        self.finish()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Literal[False]:
        if self.session.owner_pid == getpid():
            if kind is None:
                self.commit()
            else:
                self.rollback()
        return False

    # -- what the driver calls ---------------------------------------------------------------------------

    def settle(self, *, is_commit: bool) -> None:
        """
        Close what still reads, then commit or roll back.

        Raises:
            sqlite3.Error: What SQLite says; or it has rolled back by itself before, and would commit the rest alone.
        """
        self._close_cursors()
        if is_commit and self.session.undone:
            raise sqlite3.OperationalError(undone_words(self.session.undone))
        if self.in_transaction:
            if is_commit:
                super().commit()
            else:
                super().rollback()

    def finish(self) -> None:
        """Close."""
        self.is_closed = True
        self._close_cursors()
        super().close()

    def has_readers(self) -> bool:
        """Tell whether something may be half read; a cursor stepped by ``next()`` does not say that it has ended."""
        readers = [reference() for reference in list(self._cursors)]
        return any(getattr(reader, "is_reading", True) for reader in readers if reader is not None)

    def restore(self) -> None:
        """Put back the attributes that a task may have changed."""
        if self._client_state() != self._at_open:
            self.isolation_level, self.row_factory, self.text_factory = self._at_open

    def immortalise(self) -> None:
        """Keep this object and its cursors beyond the interpreter's end: neither must ever be closed or collected."""
        keep = ctypes.pythonapi.Py_IncRef
        for kept in (self, *[cursor for reference in list(self._cursors) if (cursor := reference()) is not None]):
            keep(ctypes.py_object(kept))

    # -- the guard ---------------------------------------------------------------------------------------

    def begin_statement(self) -> None:
        """Count a statement of the process that owns this connection."""
        self.refuse_others()
        self.session.sent += 1

    def refuse_others(self) -> None:
        """Refuse a process that does not own this connection."""
        session, pid = self.session, getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)

    def refuse(self, verb: str) -> None:
        """Refuse to settle by hand what is not the task's own."""
        if self.session.refusal is not None:
            self.session.refusal(verb)

    def _remember(self, reader: Any) -> Any:
        self._cursors.add(weakref.ref(reader, self._cursors.discard))
        return reader

    def _close_cursors(self) -> None:
        while self._cursors:
            with contextlib.suppress(KeyError):  # collected meanwhile
                reader = self._cursors.pop()()
                if reader is not None:
                    reader.close()

    def _client_state(self) -> tuple[Any, Any, Any]:
        return self.isolation_level, self.row_factory, self.text_factory
