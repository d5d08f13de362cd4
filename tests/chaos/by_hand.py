"""The control: the connection as it is written by hand, a global with a ping before each task, committed at its end."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from tests.chaos.work import transfer

_connection: Any = None


def _connect() -> Any:
    url = urlsplit(os.environ["CHAOS_URL"])
    if url.scheme.startswith("mysql"):
        import pymysql

        return pymysql.connect(
            host=url.hostname,
            port=url.port or 0,
            user=url.username or "",
            password=url.password or "",
            database=url.path.lstrip("/"),
            connect_timeout=2,
        )
    import psycopg

    return psycopg.connect(os.environ["CHAOS_URL"].replace("+psycopg", ""), connect_timeout=2)


def _database() -> Any:
    """Give the process's connection, alive as far as a ping tells."""
    global _connection  # noqa: PLW0603 -- as everybody writes it
    if _connection is None:
        _connection = _connect()
    if hasattr(_connection, "ping"):
        _connection.ping(reconnect=True)
    elif _connection.closed:
        _connection = _connect()
    return _connection


def transfer_by_hand(transfer_id: str, source: int, target: int, amount: int) -> str:
    """Do the transfer, and settle it, as most people would write it."""
    db = _database()
    try:
        result = transfer(db, transfer_id, source, target, amount)
        db.commit()
    except Exception:
        db.rollback()
        raise
    return result
