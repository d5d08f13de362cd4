"""Celery's soft limits and RQ's timeouts at random moments: `make fuzz` for the long run; the table is printed last."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.result import AsyncResult
from rq.job import Job

from examples.servers import RedisServer
from tests.drivers.rows import ROWS
from tests.outcomes.celery_worker import CeleryWorker, celery_worker
from tests.outcomes.places import Place
from tests.outcomes.rq_table import Workers, rq_workers
from tests.outcomes.shares import IS_FULL, SEED, every_driver, read_book, report, share
from tests.support.databases import empty_redis_database

pytestmark = pytest.mark.timeout(1800 if IS_FULL else 240)

_chance = random.Random(SEED)


def _with_spare(number: int) -> int:
    """Say how many are sent: a limit that strikes a destructor is lost, and Celery's own code hears some of them."""
    return number + max(3, round(0.3 * number))


def _by_celery(name: str) -> int:
    return share(name, most_used=50, others=10, full=(50, 50))


def _by_rq(name: str) -> int:
    return share(name, most_used=20, others=5, full=(20, 20))


@pytest.fixture(scope="module")
def worker(
    redis_server: RedisServer, places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """Give a worker of Celery; its children go on with the same connections after each limit."""
    with celery_worker(redis_server, places, tmp_path_factory.mktemp("celery"), "-c", "4", is_warm=True) as started:
        yield started


@pytest.fixture(scope="module")
def limited(worker: CeleryWorker) -> dict[str, list[AsyncResult[Any]]]:
    """Send every driver's storms at once, each with a limit of its own."""
    return {
        name: [
            worker.client.send_task(
                "storm", (f"celery-{name}-{n}", name, SEED + n), soft_time_limit=_chance.uniform(0.2, 0.5)
            )
            for n in range(_with_spare(_by_celery(name)))
        ]
        for name in ROWS
    }


@every_driver
def test_soft_limit_at_any_moment(
    name: str,
    worker: CeleryWorker,
    limited: dict[str, list[AsyncResult[Any]]],
    record_property: Callable[[str, object], None],
) -> None:
    """Celery is told of its limit, and the next task in the same child gets right answers."""
    right = {"FAILURE SoftTimeLimitExceeded", "SUCCESS"}
    wrong = [result.traceback for result in limited[name] if worker.ended(result) not in right]

    counts = read_book(worker.folder / "book", worker.places[name], f"celery-{name}-")

    assert wrong == []
    report(record_property, name, "Celery", counts)
    assert counts["interrupts"] >= _by_celery(name)


@pytest.fixture(scope="module")
def workers(
    redis_server: RedisServer, places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """Give workers of RQ that run all jobs in their own process, with the same connections."""
    folder = tmp_path_factory.mktemp("rq")
    with empty_redis_database(redis_server, 31) as redis:
        with rq_workers(redis, places, folder, "taskconn.rq.SimpleWorker", is_warm=True) as started:
            yield started


@pytest.fixture(scope="module")
def timed(workers: Workers) -> dict[str, list[Job]]:
    """Enqueue every driver's storms at once."""
    return {
        name: [
            workers.queue.enqueue("tests.outcomes.jobs.storm", args=(f"rq-{name}-{n}", name, SEED + n), job_timeout=1)
            for n in range(_with_spare(_by_rq(name)))
        ]
        for name in ROWS
    }


@every_driver
def test_timeout_at_any_moment(
    name: str, workers: Workers, timed: dict[str, list[Job]], record_property: Callable[[str, object], None]
) -> None:
    """RQ is told of its timeout, and the next job in the same process gets right answers."""
    right = {"failed JobTimeoutException", "finished"}
    wrong = [job.latest_result() for job in timed[name] if workers.ended(job) not in right]

    counts = read_book(workers.folder / "book", workers.places[name], f"rq-{name}-")

    assert [result and result.exc_string for result in wrong] == []
    report(record_property, name, "RQ", counts)
    assert counts["interrupts"] >= _by_rq(name)
