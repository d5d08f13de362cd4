"""PyMySQL by `connect=`, as an application would name it: the library's own connection, and a round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pymysql

from taskconn.drivers.callables import Callables
from tests.drivers.rows.pymysql import PyMySQLRow
from tests.matrix.added.connect import IS_ITS_OWN, TIMEOUT_S


def connect(url: str) -> Any:
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
        connect_timeout=TIMEOUT_S,
        read_timeout=TIMEOUT_S,
    )
    connection._read_timeout = None  # it was for the login, which `connect_timeout` leaves out
    return connection


def ping(connection: Any) -> None:
    """Raise where the server does not answer."""
    connection.ping(reconnect=False)


class Bare(PyMySQLRow):
    name = "connect=pymysql"
    driver = Callables  # type: ignore[assignment]  # another driver for the same library
    scheme = "connect+mysql"
    misspelt = ""
    is_bare = True
    errors = (pymysql.MySQLError,)
    package = "PyMySQL"
    stays: ClassVar[Mapping[str, str]] = {"SET autocommit": IS_ITS_OWN}
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}"}
    options: ClassVar[Mapping[str, Any]] = {
        "connect": "tests.matrix.added.connect_pymysql:connect",
        "check": "tests.matrix.added.connect_pymysql:ping",
    }

    def session_ids(self, connection: Any) -> set[str]:
        return {str(connection.opened.thread_id())}
