"""The package mysqlclient, imported as MySQLdb: MySQL's library in C. Its connection class is in `_connection.py`."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Iterable
from typing import Any

from MySQLdb import cursors

from ... import _process
from ..._arguments import Reader, boolean, read, refuse_autocommit
from ..._guarded_driver import GuardedDriver
from ...driver import Session, Target
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


class MySQLdb(GuardedDriver[Connection]):
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

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List its one socket, as it was found at login: the library tells nobody while a query runs."""
        return connection.descriptors()

    def identity(self, connection: Connection) -> str | None:
        """Give the CONNECTION_ID() of the handshake."""
        return str(connection.thread_id())

    def is_open(self, connection: Connection) -> bool:
        """Tell whether there is a socket."""
        return connection.is_open()

    def has_pending_reply(self, connection: Connection) -> bool:
        """Tell whether a reply was cut off, or rows of an unbuffered cursor or further result sets were not read."""
        return connection.session.pending or connection.has_unread()

    def is_as_opened(self, connection: Connection) -> bool:
        """Tell it of socket, replies, autocommit and cursor class."""
        return connection.is_as_opened()

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
