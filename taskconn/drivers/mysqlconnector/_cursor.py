"""What every cursor does beyond the library's: it asks under the connection's guard."""

from __future__ import annotations

import weakref
from typing import Any

from mysql.connector.cursor import MySQLCursor

__all__ = ["GuardedCursor"]

#: What begins anew, whatever was not read.
_STATEMENTS = {"callproc", "execute", "executemany"}


class GuardedCursor(MySQLCursor):
    """
    Mix into a cursor class: a reply is read as the cursor means it, or the connection is dropped.

    A row that was read and not yet kept when an interrupt struck would be missing without a trace.
    """

    _connection: Any

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Execute a statement."""
        return self._guard(super().execute, *arguments, **named)

    def executemany(self, *arguments: Any, **named: Any) -> Any:
        """Execute a statement once for each set of parameters."""
        return self._guard(super().executemany, *arguments, **named)

    def callproc(self, *arguments: Any, **named: Any) -> Any:
        """Call a stored procedure."""
        return self._guard(super().callproc, *arguments, **named)

    def fetchone(self) -> Any:
        """Fetch a row."""
        return self._guard(super().fetchone)

    def fetchmany(self, *arguments: Any, **named: Any) -> Any:
        """Fetch some rows."""
        return self._guard(super().fetchmany, *arguments, **named)

    def fetchall(self) -> Any:
        """Fetch the rows that are left."""
        return self._guard(super().fetchall)

    def nextset(self) -> Any:
        """Go on to the next result set."""
        return self._guard(super().nextset)

    def close(self) -> bool:  # type: ignore[override]  # as the base class has it
        """
        Close, and read what is left unread; nothing is read after an interrupt, nor by another process.

        The library raises InternalError where rows are left, which would hide what made the task leave the block.
        """
        connection = self._connection
        if connection is None:
            return False
        if connection.is_beyond_use() or not connection.is_open():
            self._connection = None
            return True
        if connection.reader() is self:
            connection.exchange(connection.read_unread)
        closed: bool = connection.exchange(super().close)
        return closed

    def _guard(self, call: Any, *arguments: Any, **named: Any) -> Any:
        connection = self._connection
        if connection is None:
            return call(*arguments, **named)  # the library says what is wrong
        if call.__name__ in _STATEMENTS:
            connection.forget_abandoned()
            if not connection.has_unread():
                connection.reader = weakref.ref(self)  # before there are rows: after them an interrupt may strike
        return connection.exchange(call, *arguments, **named)
