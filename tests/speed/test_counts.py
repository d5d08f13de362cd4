"""What must not grow, counted: round trips, calls, allocations. Times are in `benchmarks/`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import taskconn
from benchmarks import pools, ways
from benchmarks.clients import Client, psycopg_client, pymysql_client, redis_client
from benchmarks.stage import Stage
from benchmarks.tables import tasks
from taskconn.testing import FakeDriver
from tests.support.process import Script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="starts servers, which have no Windows build")

CLIENTS = {"pymysql": pymysql_client, "psycopg": psycopg_client, "redis": redis_client}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Give servers."""
    with ExitStack() as stack:
        yield Stage(stack, is_quick=True)


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_task_without_a_statement_costs_no_round_trip(make: Callable[..., Client], stage: Stage) -> None:
    """A connection that was used a moment ago is handed out, and taken back, in silence."""
    assert tasks.count_round_trips(make, stage, ways.by_taskconn, "nothing") == 0


@pytest.mark.parametrize("work", ["SELECT 1", "INSERT"])
@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_task_with_a_statement_costs_no_round_trip_more(make: Callable[..., Client], work: str, stage: Stage) -> None:
    """It costs what a global connection does that settles its transaction as well."""
    floor = tasks.count_round_trips(make, stage, ways.global_connection, work)

    assert 0 < tasks.count_round_trips(make, stage, ways.by_taskconn, work) <= floor


@pytest.mark.parametrize("peer", ["psycopg_pool", "SQLAlchemy QueuePool", "DBUtils PooledDB"])
def test_lease_costs_fewer_calls_than_other_pools(peer: str) -> None:
    """They hand out a connection, and take it back; a lease settles it, too."""
    with pools.POOLS[peer]() as theirs, pools.taskconn_lease() as ours:
        assert pools.count_calls(ours) < pools.count_calls(theirs)


@pytest.mark.parametrize("integration", ["taskconn", "taskconn.celery", "taskconn.rq"])
def test_lease_costs_at_most_15_calls(integration: str, script: Callable[..., Script]) -> None:
    """In a process of one task system."""
    program = """
import importlib, sys
from benchmarks import pools
importlib.import_module(sys.argv[1])
with pools.taskconn_lease() as once:
    print("calls", pools.count_calls(once))
"""
    found = re.search(r"calls (\d+)", script(program, integration).succeed())

    assert found is not None
    assert 0 < int(found[1]) <= 15


def test_lease_costs_the_same_among_a_thousand_aliases() -> None:
    """An alias is found in one step, however many there are."""
    registry = taskconn.Registry()
    handles = [registry.add(f"alias-{number}", FakeDriver()) for number in range(1_000)]

    def once(index: int) -> Callable[[], None]:
        def lease() -> None:
            with taskconn.lease(handles[index]):
                pass

        return lease

    few = taskconn.Registry().add("default", FakeDriver())
    with taskconn.lease(few):
        pass

    def alone() -> None:
        with taskconn.lease(few):
            pass

    assert {pools.count_calls(once(index)) for index in (0, 500, 999)} == {pools.count_calls(alone)}


def test_leases_leave_nothing_behind() -> None:
    """After ten thousand leases the process holds as many objects as before."""
    with pools.taskconn_lease() as once:
        once()
        before = sys.getallocatedblocks()
        for _ in range(10_000):
            once()

        assert abs(sys.getallocatedblocks() - before) < 50
