"""PyMySQL: MySQL and MariaDB in pure Python. Its connection class stands in `_connection.py`."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Iterable
from typing import Any

import pymysql.connections
import pymysql.cursors
from pymysql import err

from ... import _process
from ..._arguments import Reader, boolean, label, read, refuse_autocommit
from ..._guarded_driver import GuardedDriver
from ...driver import Session, Target
from ._connection import Connection
from ._tls import Tls

__all__ = ["Connection", "PyMySQL"]


def _cursor_class(name: str) -> Any:
    found = getattr(pymysql.cursors, name.rpartition(".")[2], None)
    if not (inspect.isclass(found) and issubclass(found, pymysql.cursors.Cursor)):
        raise ValueError("a class of pymysql.cursors was expected")
    return found


#: Connect arguments that taskconn passes on, by PyMySQL's names; None: an object. The installed version may have fewer.
_ARGUMENTS: dict[str, Reader | None] = {
    "auth_plugin_map": None,
    "autocommit": boolean,
    "binary_prefix": boolean,
    "bind_address": str,
    "charset": str,
    "client_flag": int,
    "collation": str,
    "conv": None,
    "cursorclass": _cursor_class,
    "init_command": str,
    "local_infile": boolean,
    "max_allowed_packet": int,
    "program_name": str,
    "read_default_file": str,
    "read_default_group": str,
    "read_timeout": float,
    "server_public_key": str.encode,
    "sql_mode": str,
    "ssl": None,
    "ssl_ca": str,
    "ssl_cert": str,
    "ssl_disabled": boolean,
    "ssl_key": str,
    "ssl_key_password": str,
    "ssl_verify_cert": boolean,
    "ssl_verify_identity": boolean,
    "unix_socket": str,
    "use_unicode": boolean,
    "write_timeout": float,
}


class PyMySQL(GuardedDriver[Connection]):
    """
    Connect to MySQL or MariaDB with PyMySQL: `utf8mb4`, autocommit off, one TLS context per alias.
    """

    package = "PyMySQL"
    dialect = "mysql"

    def __init__(self) -> None:
        self._tls = Tls()
        parameters = inspect.signature(pymysql.connections.Connection.__init__).parameters
        self._known = {name: reader for name, reader in _ARGUMENTS.items() if name in parameters}

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """PyMySQL's errors, and the operating system's."""
        return (err.MySQLError, OSError)

    def validate(self, target: Target) -> None:
        """Refuse connect arguments that PyMySQL does not have."""
        self._arguments(target)

    def open(self, target: Target, timeout_s: float) -> Connection:
        """Connect and log in."""
        session = Session(target.alias, _process.getpid())
        return Connection(session, self._tls, timeout_s, self._arguments(target))

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List its one socket."""
        sock = connection._sock  # noqa: SLF001 -- ours
        return () if sock is None else (sock.fileno(),)

    def identity(self, connection: Connection) -> str | None:
        """Give the CONNECTION_ID() of the handshake."""
        return str(connection.thread_id())  # type: ignore[no-untyped-call]  # its types say nothing

    def is_open(self, connection: Connection) -> bool:
        """Tell whether there is a socket."""
        return connection.open

    def is_settled(self, connection: Connection) -> bool:
        """Tell whether nothing was sent; the server's own flag can be trusted only where autocommit is on."""
        is_flag_true = connection.get_autocommit() and not connection.is_in_transaction()
        return (connection.session.sent == 0 or is_flag_true) and not self.has_pending_reply(connection)

    def has_pending_reply(self, connection: Connection) -> bool:
        """Tell whether a reply was cut off, or rows of an unbuffered cursor or further result sets were not read."""
        return connection.session.pending or connection.has_unread()

    def is_as_opened(self, connection: Connection) -> bool:
        """Tell it of socket, replies, autocommit and cursor class."""
        return connection.is_as_opened()

    def discard(self, connection: Connection) -> None:
        """
        Keep the reader of a connection that was in a query at the fork: collecting it would wait for a lock for ever.

        Source:
            Experiment: the lock of `io.BufferedReader` is copied as the parent's thread held it.
        """
        if connection.session.pending:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def _arguments(self, target: Target) -> dict[str, Any]:
        arguments: dict[str, Any] = {"charset": "utf8mb4", **read(target, self._known)}
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
        if target.options.label and "program_name" in self._known:
            arguments.setdefault("program_name", label(target.alias))
        return arguments
