"""RQ's jobs as they are written without taskconn. Nothing of taskconn is imported here, nor in these workers."""

from __future__ import annotations

import json
import os
from typing import Any

import pymysql

_ARGUMENTS: dict[str, Any] = json.loads(os.environ.get("BENCH_ARGUMENTS", "{}"))

_global: Any = None


def nothing(who: str) -> None:
    """Do nothing."""


def insert_over_new(who: str) -> None:
    """Write a row over a connection of the job's own."""
    connection = pymysql.connect(**_ARGUMENTS)
    try:
        _insert(connection, who)
    finally:
        connection.close()


def insert_over_global(who: str) -> None:
    """Write a row over a connection that is made once in each process."""
    global _global  # noqa: PLW0603 -- that is how it is done
    if _global is None:
        _global = pymysql.connect(**_ARGUMENTS)
    _insert(_global, who)


def _insert(connection: Any, who: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO done (who) VALUES (%s)", (who,))
    connection.commit()
