"""The package mysqlclient, imported as MySQLdb: MySQL's library in C. Its connection class is in `_connection.py`."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Iterable
from typing import Any

from MySQLdb import cursors

from ... import _process
from ..._arguments import Reader, boolean, read, refuse_autocommit
from ...driver import Driver, Session, Target
from ...errors import InvalidSettingsError
from ._connection import Connection
from ._wire import errors

__all__ = ["Connection", "MySQLdb"]


def _cursor_class(name: str) -> Any:
    found = getattr(cursors, name.rpartition(".")[2], None)
    if not (inspect.isclass(found) and issubclass(found, cursors.BaseCursor)):
        raise ValueError("a class of MySQLdb.cursors was expected")
    return found


_SSL_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


def _ssl_mode(text: str) -> str:
    if text.upper() not in _SSL_MODES:
        raise ValueError(f"one of {', '.join(_SSL_MODES)} was expected")
    return text.upper()


#: What the mapping `ssl` holds, each as an argument of its own, since an URL can't carry a mapping.
_SSL_PARTS = {"ssl_ca": "ca", "ssl_capath": "capath", "ssl_cert": "cert", "ssl_cipher": "cipher", "ssl_key": "key"}

#: Connect arguments that taskconn passes on, by mysqlclient's names; None: an object.
_ARGUMENTS: dict[str, Reader | None] = {
    "auth_plugin": str,
    "autocommit": boolean,
    "binary_prefix": boolean,
    "charset": str,
    "client_flag": int,
    "collation": str,
    "compress": boolean,
    "conv": None,
    "cursorclass": _cursor_class,
    "init_command": str,
    "local_infile": boolean,
    "multi_statements": boolean,
    "read_default_file": str,
    "read_default_group": str,
    "read_timeout": int,
    "sql_mode": str,
    "ssl": None,
    "ssl_mode": _ssl_mode,
    "unix_socket": str,
    "use_unicode": boolean,
    "write_timeout": int,
    **dict.fromkeys(_SSL_PARTS, str),
}


class MySQLdb(Driver[Connection]):
    """
    Connect to MySQL or MariaDB with mysqlclient: `utf8mb4`, autocommit off; signals are heard during a query.
    """

    package = "mysqlclient"
    dialect = "mysql"
    connection_type = Connection

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """The library's errors, and the operating system's."""
        return (errors.MySQLError, OSError)

    def validate(self, target: Target) -> None:
        """Refuse connect arguments that mysqlclient does not have."""
        self._arguments(target)

    def open(self, target: Target, timeout_s: float) -> Connection:
        """Connect and log in; the library counts whole seconds."""
        session = Session(target.alias, _process.getpid())
        return Connection(session, timeout_s, self._arguments(target))

    def session(self, connection: Connection) -> Session:
        """Give what the connection tells of itself."""
        return connection.session

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List its one socket, as it was found at login: the library tells nobody while a query runs."""
        return connection.descriptors()

    def identity(self, connection: Connection) -> str | None:
        """Give the CONNECTION_ID() of the handshake."""
        return str(connection.thread_id())

    def is_open(self, connection: Connection) -> bool:
        """Tell whether there is a socket."""
        return connection.is_open()

    def is_alive(self, connection: Connection, timeout_s: float) -> bool:
        """Send the smallest of statements: the library's ping can't be bounded."""
        try:
            connection.ping_within(timeout_s)
        except self.errors:
            return False
        return True

    def ask_identity(self, connection: Connection, timeout_s: float) -> str | None:
        """Ask for CONNECTION_ID(), outside of any transaction."""
        return connection.ask_identity(timeout_s)

    def ask(self, connection: Connection, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement of taskconn's own."""
        return connection.ask_rows(statement, timeout_s)

    def is_settled(self, connection: Connection) -> bool:
        """Tell whether nothing was sent and nothing waits to be read."""
        return connection.session.sent == 0 and not self.has_pending_reply(connection)

    def has_pending_reply(self, connection: Connection) -> bool:
        """Tell whether a reply was cut off, or rows of an unbuffered cursor or further result sets were not read."""
        return connection.session.pending or connection.has_unread()

    def commit(self, connection: Connection, timeout_s: float) -> None:
        """Commit; unread rows are read first. `Session.pending` is True afterwards if the answer never came."""
        connection.settle(b"COMMIT", timeout_s)

    def rollback(self, connection: Connection, timeout_s: float) -> None:
        """Roll back."""
        connection.settle(b"ROLLBACK", timeout_s)

    def restore(self, connection: Connection) -> None:
        """Put back autocommit and the cursor class."""
        connection.restore()

    def is_as_opened(self, connection: Connection) -> bool:
        """Tell it of socket, replies, autocommit and cursor class."""
        return connection.is_as_opened()

    def reset(self, connection: Connection, timeout_s: float) -> None:
        """Clear variables, temporary tables, locks and prepared statements; the database is the URL's again."""
        connection.reset(timeout_s)

    def close(self, connection: Connection, timeout_s: float) -> None:
        """Send COM_QUIT and close. Nothing is waited for."""
        connection.quit()

    def invalidate(self, connection: Connection) -> None:
        """Shut the socket."""
        connection.drop()

    def discard(self, connection: Connection) -> None:
        """
        Put the dead socket in place, if nobody has: collecting an inherited connection says goodbye on it.

        One that was in a query at the fork is kept for ever, with its rows: they are collected under a lock that a
        thread of the parent holds.
        """
        connection.disarm()
        if connection.session.pending or connection.unread is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def _arguments(self, target: Target) -> dict[str, Any]:
        arguments: dict[str, Any] = {"charset": "utf8mb4", **read(target, _ARGUMENTS)}
        if arguments.get("autocommit", False) is not False:
            refuse_autocommit(target, "autocommit")
        parts = {
            "host": target.host,
            "port": target.port,
            "user": target.user,
            "password": target.password,
            "database": target.database,
        }
        arguments.update((name, value) for name, value in parts.items() if value)
        _gather_tls(target, arguments)
        return arguments


def _gather_tls(target: Target, arguments: dict[str, Any]) -> None:
    """Make the mapping `ssl` of its parts. Who names an authority wants it asked, which the library does not."""
    parts = {part: arguments.pop(name) for name, part in _SSL_PARTS.items() if name in arguments}
    if not parts:
        return
    if "ssl" in arguments:
        problem = "`ssl` and its parts (ssl_ca, ...) are both given"
        raise InvalidSettingsError(target.alias, problem, "Write either the mapping or its parts.")
    arguments["ssl"] = parts
    if "ca" in parts or "capath" in parts:
        arguments.setdefault("ssl_mode", "VERIFY_CA")
