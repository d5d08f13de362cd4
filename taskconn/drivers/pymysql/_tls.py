"""The one TLS context of an alias, shared by its PyMySQL connections."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Protocol

from pymysql.constants import CLIENT

__all__ = ["Tls"]

#: The TLS arguments of PyMySQL; without any of them it encrypts if the server offers to.
_TLS_ARGUMENTS = {"ssl", "ssl_ca", "ssl_cert", "ssl_disabled", "ssl_key", "ssl_key_password"}
_TLS_ARGUMENTS |= {"ssl_verify_cert", "ssl_verify_identity"}
#: May name TLS settings in a file, so only PyMySQL can tell what they are.
_FILE_ARGUMENTS = {"read_default_file", "read_default_group"}


class _Encrypting(Protocol):
    """What PyMySQL's connection decides by."""

    ssl: bool
    client_flag: int
    _ssl_required: bool


class Tls:
    """
    Keep the one TLS context of an alias: PyMySQL makes a new one, for 25 ms, at each connect.

    Where the arguments say nothing of TLS, none is made until a server offers to encrypt.

    Attributes:
        context: The context; None until it is needed.
        is_required: Do the arguments ask for TLS, so that nothing may be sent without?
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self.is_required = False

    def __repr__(self) -> str:
        return f"<Tls {'unused' if self.context is None else 'ready'}>"

    def is_known(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether the constructor need not think about TLS: there is a context already, or none is asked for."""
        return self.context is not None or not (arguments.keys() & (_TLS_ARGUMENTS | _FILE_ARGUMENTS))

    def without(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out of *arguments* what would make the constructor build a context."""
        return {
            **{name: value for name, value in arguments.items() if name not in _TLS_ARGUMENTS},
            "ssl_disabled": True,
        }

    def learn(self, connection: _Encrypting) -> None:
        """Take over what the constructor made of the arguments; the context came through `GuardedConnection.ctx`."""
        self.is_required = getattr(connection, "_ssl_required", connection.ssl)

    def apply(self, connection: _Encrypting) -> None:
        """Give *connection*, constructed without TLS, what was learnt; without a context, TLS as the server likes."""
        if self.context is None and not hasattr(connection, "_ssl_required"):
            return  # PyMySQL < 1.2 encrypts only when told to
        connection.ssl = True
        connection._ssl_required = self.is_required  # noqa: SLF001 -- our base class's
        if self.is_required:
            connection.client_flag |= CLIENT.SSL
