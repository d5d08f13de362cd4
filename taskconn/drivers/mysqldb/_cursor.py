"""What every cursor does beyond the library's: it asks under the connection's guard."""

from __future__ import annotations

from typing import Any

import MySQLdb.cursors

__all__ = ["GuardedCursor", "GuardedStreamCursor", "guard_of"]


class GuardedCursor(MySQLdb.cursors.BaseCursor):  # type: ignore[misc]  # no types
    """
    Mix into a cursor class: what is asked for is read whole, or the connection is dropped.
    """

    connection: Any
    _result: Any

    def _query(self, q: bytes) -> Any:
        return self._get_db().exchange(self._query_as_one, q)

    def _query_as_one(self, q: bytes) -> Any:
        """Query and fetch as one exchange: guarding each of its steps would cost more than the query."""
        connection = self.connection
        try:
            connection.is_guarded = True
            return super()._query(q)
        finally:
            connection.is_guarded = False

    def nextset(self) -> Any:
        """Go on to the next result set."""
        return self._get_db().exchange(super().nextset)

    def callproc(self, procname: Any, args: Any = ()) -> Any:
        """Call a stored procedure."""
        return self._get_db().exchange(super().callproc, procname, args)

    def close(self) -> None:
        """Close, and read what is left unread; nothing is read after an interrupt, nor by another process."""
        connection = self.connection
        if connection is None:
            return
        if connection.is_at_rest():  # not a word is said
            super().close()
        elif connection.is_beyond_use() or not connection.is_open():
            self.connection = self._result = None
        else:
            connection.exchange(super().close)


class GuardedStreamCursor(GuardedCursor):
    """Mix into a cursor class that may read its rows one by one."""

    def _fetch_row(self, size: int = 1) -> Any:
        result = self._result
        connection = self.connection
        if not result or connection is None or connection.is_guarded:
            return super()._fetch_row(size)
        rows = connection.exchange(connection.touching, super()._fetch_row, size)
        if connection.unread is result and (not size or len(rows) < size):
            connection.unread = None
        return rows


def guard_of(stock: Any) -> type[GuardedCursor]:
    """Give what to mix into the library's, or a user's, cursor class *stock*."""
    return GuardedCursor if issubclass(stock, MySQLdb.cursors.CursorStoreResultMixIn) else GuardedStreamCursor
