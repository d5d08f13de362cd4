"""psycopg by `connect=`, as an application would name it: the library's own connection, and a round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import psycopg

from taskconn.drivers.callables import Callables
from tests.drivers.rows.psycopg import PsycopgRow
from tests.matrix.added.connect import IS_ITS_OWN, TIMEOUT_S


def connect(url: str) -> Any:
    """Connect by psycopg."""
    return psycopg.connect(url.replace("connect+", ""), connect_timeout=TIMEOUT_S)


def ping(connection: Any) -> None:
    """Raise where the server does not answer."""
    connection.execute("SELECT 1")
    connection.rollback()


class Bare(PsycopgRow):
    name = "connect=psycopg"
    driver = Callables  # type: ignore[assignment]  # another driver for the same library
    scheme = "connect+postgresql"
    misspelt = ""
    is_bare = True
    errors = (psycopg.Error,)
    package = "psycopg"
    stays: ClassVar[Mapping[str, str]] = {"SET autocommit": IS_ITS_OWN}
    options: ClassVar[Mapping[str, Any]] = {
        "connect": "tests.matrix.added.connect_psycopg:connect",
        "check": "tests.matrix.added.connect_psycopg:ping",
    }

    def session_ids(self, connection: Any) -> set[str]:
        return {str(connection.opened.info.backend_pid)}
