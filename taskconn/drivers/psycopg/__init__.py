"""psycopg 3: PostgreSQL. Its connection class stands in `_connection.py`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
import psycopg.rows
from psycopg import pq
from psycopg.conninfo import conninfo_attempts, make_conninfo

from ... import _process
from ..._arguments import Reader, boolean, refuse_autocommit
from ..._guarded_driver import GuardedDriver
from ..._libpq import read_arguments
from ...driver import Answer, Session, Target, run
from ._cancelling import make_canceller
from ._connection import Connection
from ._cursor import Cursor, ServerCursor
from ._waiting import drive

__all__ = ["Connection", "Cursor", "Psycopg", "ServerCursor"]

_monotonic = time.monotonic


def _row_factory(name: str) -> Any:
    if name not in {"dict_row", "namedtuple_row", "scalar_row", "tuple_row"}:
        raise ValueError("dict_row, namedtuple_row, scalar_row or tuple_row was expected")
    return getattr(psycopg.rows, name)


def _cursor_class(name: str) -> Any:
    found = getattr(psycopg, name.rpartition(".")[2], None)
    if not (inspect.isclass(found) and issubclass(found, psycopg.Cursor)):
        raise ValueError("a cursor class of psycopg was expected")
    return found


def _threshold(text: str) -> int | None:
    return None if text.lower() == "none" else int(text)


#: What `psycopg.connect` takes besides libpq's arguments.
_OWN: dict[str, Reader | None] = {
    "autocommit": boolean,
    "context": None,
    "cursor_factory": _cursor_class,
    "prepare_threshold": _threshold,
    "row_factory": _row_factory,
}


class Psycopg(GuardedDriver[Connection]):
    """
    Connect to PostgreSQL with psycopg 3. What is in flight is libpq's to know, exactly and without a round trip.
    """

    package = "psycopg"
    dialect = "postgresql"
    connection_type = Connection

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """Its own errors, and the operating system's."""
        return (psycopg.Error, OSError)

    def validate(self, target: Target) -> None:
        """Refuse connect arguments that neither libpq nor psycopg has."""
        self._arguments(target)

    def open(self, target: Target, timeout_s: float) -> Connection:
        """Connect and log in. A name with several addresses is tried at each of them, within the one timeout."""
        arguments, own = self._arguments(target)
        deadline = _monotonic() + timeout_s
        attempts = conninfo_attempts(arguments)
        for left in range(len(attempts), 0, -1):
            until = _monotonic() + (deadline - _monotonic()) / left
            conninfo = make_conninfo("", **attempts[-left])
            try:
                connection: Connection = drive(Connection._connect_gen(conninfo), until)  # noqa: SLF001 -- connect() waits for 2 s or more
            except psycopg.Error:
                if left == 1:
                    raise
            else:
                break
        connection.belong_to(Session(target.alias, _process.getpid()), own)
        return connection

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List its one socket."""
        try:
            return (connection.pgconn.socket,)
        except psycopg.Error:
            return ()

    def run(self, connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run a statement, whatever the task makes of rows."""
        return run(connection.cursor(row_factory=psycopg.rows.tuple_row), statement, parameters)

    def identity(self, connection: Connection) -> str | None:
        """Give the id of the server's process, as told at login."""
        return str(connection.pgconn.backend_pid)

    def is_open(self, connection: Connection) -> bool:
        """Tell what libpq knows."""
        return not connection.closed

    def cancel(self, connection: Connection, timeout_s: float) -> bool:
        """Send PostgreSQL's cancel request, which takes no session and proves whose it is."""
        canceller = connection.canceller
        if canceller is None and not connection.closed and connection.is_busy():
            canceller = make_canceller(connection.pgconn)
        if canceller is None:
            return False
        canceller(timeout_s)
        return True

    def is_settled(self, connection: Connection) -> bool:
        """Tell whether no transaction is open: exact, for each reply says it."""
        return connection.pgconn.transaction_status == pq.TransactionStatus.IDLE and not connection.is_busy()

    def has_pending_reply(self, connection: Connection) -> bool:
        """Tell whether a reply was cut off, or rows, a COPY, a pipeline or a transaction block were left half done."""
        return connection.session.pending or (not connection.closed and connection.is_busy())

    def is_as_opened(self, connection: Connection) -> bool:
        """Tell it of what libpq knows, and of settings, handlers and factories."""
        return connection.is_as_opened()

    def _arguments(self, target: Target) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sort out what libpq gets, and what psycopg gets."""
        names = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
        arguments = read_arguments(target, names, _OWN)
        own = {name: arguments.pop(name) for name in _OWN if name in arguments}
        if own.get("autocommit", False) is not False:
            refuse_autocommit(target, "autocommit")
        return arguments, own
