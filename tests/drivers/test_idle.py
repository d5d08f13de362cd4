"""With `max_idle` the server ends the session of a worker that waits, and the next lease notices."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import pytest

import taskconn
from tests.drivers.rows import ROWS, Row

#: Longest wait for what the server does after two seconds.
_LONG_S = 30.0

#: The session's own limit, as each kind of server tells it.
_TOLD = {
    "mysql": ("SELECT CAST(@@SESSION.wait_timeout AS CHAR)", "31"),
    "postgresql": ("SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'", "31000"),
}

with_limit = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.family in _TOLD], ids=lambda row: row.name
)


def _url(row: Row, request: pytest.FixtureRequest) -> str:
    return urlsplit(row.url(request))._replace(scheme=row.scheme).geturl()


def _ask(row: Row, db: Any) -> str:
    statement, _ = _TOLD[row.family]
    ((value,),) = row.run(db, statement)
    return value.decode() if isinstance(value, bytes) else str(value)


@with_limit
@pytest.mark.parametrize("reset", [False, True], ids=["kept", "reset"])
def test_server_is_told(row: Row, request: pytest.FixtureRequest, reset: bool) -> None:
    """The session's limit is a second longer than ``max_idle``, also after a reset, which undoes it."""
    registry = taskconn.Registry()
    handle = registry.add("orders", _url(row, request), max_idle=30, reset=reset)

    told = []
    for _ in range(2):
        with taskconn.lease(handle) as db:
            told.append(_ask(row, db))

    assert told == [_TOLD[row.family][1]] * 2


@with_limit
def test_session_of_a_process_that_waits_is_ended(row: Row, request: pytest.FixtureRequest) -> None:
    """The server ends it though no line of Python runs; the next lease has another one."""
    fixture = "mysql_database" if row.family == "mysql" else "postgresql_database"
    database = request.getfixturevalue(fixture)
    registry = taskconn.Registry()
    handle = registry.add("orders", _url(row, request), max_idle=0.5)
    with taskconn.lease(handle) as db:
        before = row.session_id(db)

    ends_at = time.monotonic() + _LONG_S
    while database.sessions():
        assert time.monotonic() < ends_at, "the server keeps the session"
        time.sleep(0.05)

    with taskconn.lease(handle) as db:
        assert row.session_id(db) != before


def test_server_that_refuses_keeps_its_connection(mysql_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old server that has no such setting is used without it."""
    registry = taskconn.Registry()
    handle = registry.add("orders", mysql_database.url, max_idle=30)
    driver = registry.pool("orders").driver
    monkeypatch.setattr(type(driver), "dialect", "postgresql")

    with taskconn.lease(handle) as db:
        cursor = db.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
