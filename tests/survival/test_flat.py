"""Memory, objects and descriptors of a process stay flat, over recycling, errors and reconnects."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest

import taskconn
from examples.servers import MySQLServer, PostgreSQLServer
from tests.drivers.rows import ROWS, Row

_IS_FULL = os.environ.get("CHAOS") == "full"

#: Tasks: as many as go into some seconds, or, in `make chaos`, into days.
_TASKS = 100_000 if _IS_FULL else 1_500

#: One task in so many raises, one loses its session, one finds its connection recycled.
_FAILS, _IS_KILLED, _RECYCLES = (10, 307, 211) if _IS_FULL else (10, 101, 53)

#: Growth that is none, in bytes: allocators keep some.
_ROOM = 2**20 * 3

#: Growth that is none, in objects that the garbage collector knows: one for each connection that has gone is more.
_FEW = 20

each_row = pytest.mark.parametrize(
    "row", [ROWS[name] for name in ROWS if ROWS[name].has_server], ids=lambda row: row.name
)


@pytest.fixture
def server(request: pytest.FixtureRequest, row: Row) -> Iterator[MySQLServer | PostgreSQLServer | Any]:
    """Give the row's server."""
    names = {"mysql": "mariadb", "postgresql": "postgresql", "redis": "redis_server"}
    return request.getfixturevalue(names[row.family])


class Size(NamedTuple):
    """How large this process is: resident bytes, descriptors, objects that the garbage collector knows."""

    memory: int
    descriptors: int
    objects: int

    @classmethod
    def now(cls) -> Size:
        """Look, with the garbage gone."""
        gc.collect()
        process = psutil.Process()
        return cls(process.memory_info().rss, process.num_fds(), len(gc.get_objects()))

    def __str__(self) -> str:
        return f"{self.memory / 2**20:.1f} MiB, {self.descriptors} descriptors, {self.objects} objects"


@each_row
@pytest.mark.timeout(1200)
def test_process_stays_flat(row: Row, request: pytest.FixtureRequest, server: Any) -> None:
    """After the first fifth of the tasks neither memory nor the number of descriptors or objects grows."""
    registry = taskconn.Registry()
    url = urlsplit(row.url(request))._replace(scheme=row.scheme).geturl()
    handle = registry.add("orders", url, reconnect_spread=0)
    pool = registry.pool("orders")
    number = 0

    def work(tasks: int) -> Size:
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
        return Size.now()

    began = time.monotonic()
    early = work(_TASKS // 5)
    late = work(_TASKS - _TASKS // 5)

    stats = registry.stats()["orders"]
    print(f"{row.name}: {_TASKS} tasks, {stats['opens']} connections in {time.monotonic() - began:.0f} s")
    print(f"  after a fifth {early}\n  at the end    {late}")
    assert stats["leases"] == _TASKS
    assert stats["opens"] > _TASKS // _RECYCLES
    assert late.descriptors <= early.descriptors
    assert late.objects - early.objects < _FEW
    assert late.memory - early.memory < _ROOM


def _fail() -> None:
    raise ValueError("as a task does")


def _kill(row: Row, server: Any, session: str) -> None:
    if row.family == "redis":
        server.query("CLIENT", "KILL", "ID", session)
    else:
        server.kill_session(int(session))
