"""mysql-connector-python: Oracle's client for MySQL, in pure Python. Its connection class is in `_connection.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mysql.connector import errors
from mysql.connector.constants import DEFAULT_CONFIGURATION

from ... import _process
from ..._arguments import Reader, boolean, label, read, refuse_autocommit
from ..._guarded_driver import GuardedDriver
from ...driver import Session, Target
from ...errors import InvalidSettingsError
from ._connection import Connection
from ._socket import Tls

__all__ = ["Connection", "MySQLConnector"]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.strip("[]").split(",")]


#: Connect arguments that taskconn passes on, by the library's names; None: an object. An old version may have fewer.
_ARGUMENTS: dict[str, Reader | None] = {
    "allow_local_infile": boolean,
    "allow_local_infile_in_path": str,
    "auth_plugin": str,
    "autocommit": boolean,
    "buffered": boolean,
    "charset": str,
    "client_flags": int,
    "collation": str,
    "compress": boolean,
    "conn_attrs": None,
    "consume_results": boolean,
    "converter_class": None,
    "converter_str_fallback": boolean,
    "force_ipv6": boolean,
    "get_warnings": boolean,
    "init_command": str,
    "kerberos_auth_mode": str,
    "krb_service_principal": str,
    "oci_config_file": str,
    "oci_config_profile": str,
    "openid_token_file": str,
    "password1": str,
    "password2": str,
    "password3": str,
    "raise_on_warnings": boolean,
    "raw": boolean,
    "read_timeout": int,
    "sql_mode": str,
    "ssl_ca": str,
    "ssl_cert": str,
    "ssl_cipher": str,
    "ssl_disabled": boolean,
    "ssl_key": str,
    "ssl_verify_cert": boolean,
    "ssl_verify_identity": boolean,
    "time_zone": str,
    "tls_ciphersuites": _names,
    "tls_versions": _names,
    "unix_socket": str,
    "use_pure": boolean,
    "use_unicode": boolean,
    "webauthn_callback": str,
    "write_timeout": int,
}


class MySQLConnector(GuardedDriver[Connection]):
    """
    Connect to MySQL or MariaDB with mysql-connector-python, in pure Python: autocommit off, one TLS context per alias.
    """

    package = "mysql-connector-python"
    dialect = "mysql"
    connection_type = Connection

    def __init__(self) -> None:
        self._tls = Tls()
        self._known = {name: reader for name, reader in _ARGUMENTS.items() if name in DEFAULT_CONFIGURATION}

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """The library's errors, and the operating system's."""
        return (errors.Error, OSError)

    def validate(self, target: Target) -> None:
        """Refuse connect arguments that the library does not have."""
        self._arguments(target)

    def open(self, target: Target, timeout_s: float) -> Connection:
        """Connect and log in."""
        session = Session(target.alias, _process.getpid())
        return Connection(session, self._tls, timeout_s, self._arguments(target))

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List its one socket."""
        return connection.descriptors()

    def identity(self, connection: Connection) -> str | None:
        """Give the CONNECTION_ID() of the handshake."""
        return None if connection.connection_id is None else str(connection.connection_id)

    def is_open(self, connection: Connection) -> bool:
        """Tell whether there is a socket."""
        return connection.is_open()

    def has_pending_reply(self, connection: Connection) -> bool:
        """Tell whether a reply was cut off, or rows or result sets were not read: cursors are unbuffered by default."""
        return connection.session.pending or connection.has_unread()

    def _arguments(self, target: Target) -> dict[str, Any]:
        arguments = read(target, self._known)
        if arguments.get("autocommit"):
            refuse_autocommit(target, "autocommit")
        if not arguments.pop("use_pure", True):
            problem = "use_pure=False asks for the library's implementation in C, which hears no signal during a query"
            raise InvalidSettingsError(target.alias, problem, "Leave it out.")
        if arguments.get("ssl_ca"):
            arguments.setdefault("ssl_verify_cert", True)  # who names an authority wants it asked
        parts = {
            "host": target.host,
            "port": target.port,
            "user": target.user,
            "password": target.password,
            "database": target.database,
        }
        arguments.update((name, value) for name, value in parts.items() if value)
        if target.options.label:
            arguments["conn_attrs"] = {"program_name": label(target.alias), **(arguments.get("conn_attrs") or {})}
        return arguments
