"""Memory and descriptors of a process stay flat, over recycling, errors and reconnects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

import taskconn
from examples.servers import MySQLServer, PostgreSQLServer
from tests.drivers.rows import ROWS, Row

#: Tasks: as many as go into some seconds, or, in `make chaos`, into days.
_TASKS = 100_000 if os.environ.get("CHAOS") == "full" else 1_500

#: One task in so many raises, and one loses its session.
_FAILS, _IS_KILLED, _RECYCLES = 10, 101, 53

#: Growth that is none, in bytes: allocators keep some.
_ROOM = 2**20 * 3

each_row = pytest.mark.parametrize(
    "row", [ROWS[name] for name in ROWS if ROWS[name].has_server], ids=lambda row: row.name
)


@pytest.fixture
def server(request: pytest.FixtureRequest, row: Row) -> Iterator[MySQLServer | PostgreSQLServer | Any]:
    """Give the row's server."""
    names = {"mysql": "mariadb", "postgresql": "postgresql", "redis": "redis_server"}
    return request.getfixturevalue(names[row.family])


@each_row
@pytest.mark.timeout(1200)
def test_process_stays_flat(row: Row, request: pytest.FixtureRequest, server: Any) -> None:
    """After the first fifth of the tasks neither memory nor the number of descriptors grows."""
    registry = taskconn.Registry()
    url = urlsplit(row.url(request))._replace(scheme=row.scheme).geturl()
    handle = registry.add("orders", url, reconnect_spread=0)
    pool = registry.pool("orders")
    process, number = psutil.Process(), 0

    def work(tasks: int) -> tuple[int, int]:
        nonlocal number
        for _ in range(tasks):
            number += 1
            if number % _RECYCLES == 0:
                pool.recycle()
            try:
                with taskconn.lease(handle) as db:
                    row.ask(db, 0)
                    if number % _IS_KILLED == 0:
                        _kill(row, server, row.session_id(db))
                        row.ask(db, 0)
                    if number % _FAILS == 0:
                        _fail()
            except (ValueError, *pool.driver.errors):
                pass
        return process.memory_info().rss, process.num_fds()

    memory, descriptors = work(_TASKS // 5)
    grown, still = work(_TASKS - _TASKS // 5)

    stats = registry.stats()["orders"]
    assert stats["leases"] == _TASKS
    assert stats["opens"] > _TASKS // _RECYCLES
    assert still <= descriptors
    assert grown - memory < _ROOM


def _fail() -> None:
    raise ValueError("as a task does")


def _kill(row: Row, server: Any, session: str) -> None:
    if row.family == "redis":
        server.query("CLIENT", "KILL", "ID", session)
    else:
        server.kill_session(int(session))
