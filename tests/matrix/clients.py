"""Clients for `connect=`, as an application would name them: the library's own connection, and a round trip."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pymysql

#: Bounds connecting and reading, for nobody else does, in seconds.
_TIMEOUT_S = 2


def open_pymysql(url: str) -> Any:
    """Connect by PyMySQL."""
    parts, query = urlsplit(url), {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 0,
        user=parts.username,
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        unix_socket=query.get("unix_socket"),
        ssl_ca=query.get("ssl_ca"),
        ssl_disabled="ssl_ca" not in query,
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
    )
    connection._read_timeout = None  # it was for the login, which `connect_timeout` leaves out
    return connection


def ping_pymysql(connection: Any) -> None:
    """Raise where the server does not answer."""
    connection.ping(reconnect=False)


def open_psycopg(url: str) -> Any:
    """Connect by psycopg."""
    return psycopg.connect(url.replace("connect+", ""), connect_timeout=_TIMEOUT_S)


def ping_psycopg(connection: Any) -> None:
    """Raise where the server does not answer."""
    connection.execute("SELECT 1")
    connection.rollback()
