"""What a task's end does to its transaction, read back from the database; and what it costs at the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.servers import MySQLServer
from tests.support.databases import MySQLDatabase
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def counting_wire(mariadb: MySQLServer) -> Iterator[Wire]:
    """Give a wire to the server, for the worker of all tests here."""
    with Wire(mariadb.port, mariadb.host) as wire:
        yield wire


@pytest.fixture(scope="module")
def worker(start_shared_worker: Callable[..., Any], database: MySQLDatabase, counting_wire: Wire) -> Any:
    """Give a prefork worker with one child, whose connection is opened before its first task and runs over the wire."""
    parts = database.url.replace(f":{database.server.port}/", f":{counting_wire.port}/")
    started = start_shared_worker(database, "-c", "1", databases={"default": {"url": parts, "warm": True}})
    started.said("child")
    return started


@pytest.fixture(autouse=True)
def _empty_table(database: MySQLDatabase) -> None:
    database.query("DELETE FROM visits")


def test_task_without_statement_costs_no_round_trip(worker: Any, counting_wire: Wire) -> None:
    """A lease on which nothing was sent says nothing to the server, on the way in and on the way out."""
    worker.run("put", 1)
    before = counting_wire.requests

    for _ in range(20):
        assert worker.run("send_nothing") == "succeeded"

    assert counting_wire.requests == before


def test_task_with_statements_costs_one_round_trip_more(worker: Any, counting_wire: Wire) -> None:
    """A task that sent something is settled by one round trip, and a warm one is asked for nothing before it."""
    worker.run("put", 1)
    before = counting_wire.requests

    assert worker.run("put", 2) == "succeeded"

    assert counting_wire.requests - before == 3  # SELECT, INSERT, COMMIT


def test_select_leaves_no_snapshot(worker: Any, database: MySQLDatabase) -> None:
    """A task that only reads is settled too: the next one, on the same session, sees what was committed since."""
    worker.run("count")
    seen = worker.script.output.count("SAY counted")
    first = worker.said("counted", count=seen)
    database.query("INSERT INTO visits (n) VALUES (1)")

    worker.run("count")

    assert (first, worker.said("counted", count=seen + 1)) == ("0", "1")


def test_proxy_transaction_ends_with_its_task(worker: Any, database: MySQLDatabase) -> None:
    """What a task wrote by a proxy and never committed is rolled back when it ends, not committed by the next one."""
    assert worker.run("put_by_proxy", 1) == "succeeded"
    assert worker.run("commit_by_proxy") == "succeeded"

    assert worker.visits() == []


def test_limits_of_task_and_worker_are_told_to_the_lease(worker: Any) -> None:
    """The deadline is the first of the task's own limits, else of the worker's."""
    worker.run("tell_context")
    worker.run("tell_context", soft_time_limit=20)

    assert worker.said("context", count=1) == "celery tests.celery.project.tell_context 40"
    assert worker.said("context", count=2) == "celery tests.celery.project.tell_context 20"


def test_limit_that_a_library_swallows_is_noted(worker: Any) -> None:
    """A driver learns of a soft limit that struck in its library and was caught there."""
    worker.run("swallow_the_limit", soft_time_limit=1)

    assert worker.said("noted") == "SoftTimeLimitExceeded"


def test_stats_survive_the_children(start_worker: Any, visits_database: MySQLDatabase) -> None:
    """`celery inspect stats` adds up all children, replaced ones included."""
    worker = start_worker(visits_database, "-c", "2", "--max-tasks-per-child", "5", "--soft-time-limit", "30")

    for n in range(40):
        worker.send("put", n)
    worker.wait_for_visits(40)
    worker.run("tell_context", soft_time_limit=None)
    stats = worker.stats()["default"]

    assert (stats["leases"], stats["commits"], stats["rollbacks"]) == (40, 40, 0)
    assert stats["opens"] >= 6
    assert stats["open"] <= 2 + 2  # children that are about to be replaced count until they are
