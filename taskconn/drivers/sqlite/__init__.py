"""SQLite, of the standard library: write-ahead log and busy timeout by default. See `_connection.py` for forks."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from ... import _process
from ..._arguments import Reader, boolean, read, refuse_autocommit
from ...driver import Answer, Driver, Peek, Session, Target, run
from ...errors import InvalidSettingsError
from ._connection import Connection, Cursor

__all__ = ["Connection", "Cursor", "SQLite"]

#: Pause between two tries to switch to the write-ahead log while another process does the same, in seconds.
_RETRY_S = 0.005


def _isolation_level(text: str) -> str | None:
    if text.upper() not in ("", "NONE", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"):
        raise ValueError("DEFERRED, IMMEDIATE, EXCLUSIVE or None was expected")
    return None if text.upper() == "NONE" else text.upper()


def _pragma_value(text: str) -> str:
    if not re.fullmatch(r"-?\w+", text):
        raise ValueError("a word or a number was expected")
    return text


#: Arguments of `sqlite3.connect`, by its names.
_ARGUMENTS: dict[str, Reader | None] = {
    "cached_statements": int,
    "detect_types": int,
    "isolation_level": _isolation_level,
    "timeout": float,
    **({"autocommit": boolean} if sys.version_info >= (3, 12) else {}),
}
#: Query parameters of SQLite's own ``file:`` URIs.
_URI: dict[str, Reader | None] = {"cache": str, "immutable": str, "mode": str, "nolock": str, "psow": str, "vfs": str}
#: PRAGMAs that are set when a connection is opened.
_PRAGMAS: dict[str, Reader | None] = {
    "cache_size": _pragma_value,
    "foreign_keys": _pragma_value,
    "journal_mode": _pragma_value,
    "mmap_size": _pragma_value,
    "synchronous": _pragma_value,
    "temp_store": _pragma_value,
    "wal_autocheckpoint": _pragma_value,
}


class SQLite(Driver[Connection]):
    """
    Open SQLite files. Idle connections are closed before a fork, for no child can be kept from harming them.
    """

    package = "sqlite3"
    dialect = "sqlite"
    closes_before_fork = True

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """The module's errors, and the operating system's."""
        return (sqlite3.Error, OSError)

    def validate(self, target: Target) -> None:
        """
        Refuse arguments that neither `sqlite3.connect` nor SQLite's URIs have, and an URL without a file.

        Where the database is in memory, ``reset=True`` is refused too.
        """
        _, uri, _ = self._arguments(target)
        if target.options.reset is True and (target.database == ":memory:" or "mode=memory" in uri):
            problem = "reset=True closes the connection after each task, and a database in memory is gone then"
            raise InvalidSettingsError(target.alias, problem, "Leave it out, or name a file.")

    def open(self, target: Target, timeout_s: float) -> Connection:
        """Open the file, and make it if it is not there."""
        arguments, uri, pragmas = self._arguments(target)
        session = Session(target.alias, _process.getpid())
        autocommit = {name: arguments.pop(name) for name in ("autocommit",) if name in arguments}
        connection = Connection(uri, uri=True, check_same_thread=False, session=session, **arguments)
        try:
            _set_pragmas(connection, pragmas, time.monotonic() + timeout_s)
            for name, value in autocommit.items():  # last: with False a transaction is open from here on
                setattr(connection, name, value)
        except BaseException:
            connection.finish()
            raise
        session.sent = 0
        return connection

    def session(self, connection: Connection) -> Session:
        """Give what the connection tells of itself."""
        return connection.session

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List nothing: a dead socket in the file's place would not save the journal, which is deleted by name."""
        return ()

    def is_open(self, connection: Connection) -> bool:
        """Tell whether it was not closed."""
        return not connection.is_closed

    def peek(self, connection: Connection) -> Peek:
        """There is no peer that could be gone."""
        return Peek.QUIET

    def is_alive(self, connection: Connection, timeout_s: float) -> bool:
        """Read from the file."""
        try:
            sqlite3.Connection.cursor(connection).execute("PRAGMA schema_version").fetchall()
        except self.errors:
            return False
        return True

    def cancel(self, connection: Connection, timeout_s: float) -> bool:
        """Interrupt what another thread runs."""
        connection.interrupt()
        return True

    def is_settled(self, connection: Connection) -> bool:
        """Tell whether no transaction is open, and nothing is half read."""
        return not connection.in_transaction and not connection.has_readers()

    def commit(self, connection: Connection, timeout_s: float) -> None:
        """Commit. What waits for other processes waits for the busy timeout, at the most."""
        connection.settle(is_commit=True)

    def rollback(self, connection: Connection, timeout_s: float) -> None:
        """Roll back."""
        connection.settle(is_commit=False)

    def savepoint(self, connection: Connection, name: str) -> None:
        """Set a savepoint; outside of a transaction, its release would commit."""
        if not connection.in_transaction:
            self.run(connection, "BEGIN")
        super().savepoint(connection, name)

    def run(self, connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run a statement, whatever the task makes of rows."""
        cursor = connection.cursor()
        cursor.row_factory = None
        return run(cursor, statement.replace("%s", "?"), parameters)

    def restore(self, connection: Connection) -> None:
        """Put back isolation level, row factory and text factory."""
        connection.restore()

    def reset(self, connection: Connection, timeout_s: float) -> None:
        """Close: SQLite has no statement that puts back PRAGMAs, functions, temporary tables and attached files."""
        self.close(connection, timeout_s)

    def close(self, connection: Connection, timeout_s: float) -> None:
        """Close."""
        with contextlib.suppress(*self.errors):
            connection.finish()

    def invalidate(self, connection: Connection) -> None:
        """Close, which rolls back: there is no peer to leave alone."""
        self.close(connection, 0)

    def discard(self, connection: Connection) -> None:
        """
        Keep the object for ever: closing or collecting it in a child deletes the parent's journal.

        Source:
            SQLite, "How To Corrupt An SQLite Database File", carrying an open database across a fork; tried: half of
            a transaction was committed.
        """
        connection.immortalise()

    def resource(self, target: Target) -> str | None:
        """Name the file, whatever it is called in the URL."""
        return None if target.database == ":memory:" or not target.database else os.path.realpath(target.database)

    def _arguments(self, target: Target) -> tuple[dict[str, Any], str, dict[str, str]]:
        """Sort out what `sqlite3.connect` gets, the URI, and the PRAGMAs: first of all the write-ahead log."""
        if not target.database:
            problem = "its URL names no file"
            remedy = "Write sqlite:////absolute/path.db, sqlite:///relative.db, or sqlite:///:memory:"
            raise InvalidSettingsError(target.alias, problem, remedy)
        given = read(target, {**_ARGUMENTS, **_URI, **_PRAGMAS})
        if given.get("isolation_level", "") is None:
            refuse_autocommit(target, "isolation_level=None")
        if given.get("autocommit") is True:
            refuse_autocommit(target, "autocommit")
        query = {name: value for name, value in given.items() if name in _URI}
        pragmas = {name: value for name, value in given.items() if name in _PRAGMAS}
        if query.get("mode") != "ro" and "immutable" not in query:
            pragmas = {"journal_mode": "WAL", **pragmas}
        arguments = {name: value for name, value in given.items() if name in _ARGUMENTS}
        return arguments, _uri(target.database, query), pragmas


def _uri(path: str, query: Mapping[str, str]) -> str:
    """Write *path* as SQLite's ``file:`` URI."""
    path = quote(path.replace("\\", "/") if os.name == "nt" else path, safe="/:")
    if path[1:2] == ":" and os.name == "nt":
        path = f"///{path}"
    return f"file:{path}?{urlencode(query, quote_via=quote)}"


def _set_pragmas(connection: Connection, pragmas: Mapping[str, str], deadline: float) -> None:
    """Set *pragmas*. SQLite does not wait for others when it switches to the write-ahead log, so this does."""
    cursor = sqlite3.Connection.cursor(connection)
    for name, value in pragmas.items():
        while True:
            try:
                cursor.execute(f"PRAGMA {name}={value}").fetchall()
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)
