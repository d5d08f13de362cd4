"""The table of outcomes when the worker itself is told to go, or throws limits from another thread."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import psutil
import pytest
from rq import Worker

from examples.servers import RedisServer
from tests.drivers.rows import ROWS
from tests.outcomes.celery_worker import celery_worker
from tests.outcomes.places import Place
from tests.outcomes.rq_table import Batch, Case, Workers, rq_workers
from tests.outcomes.table import each_case
from tests.outcomes.told import Told
from tests.support.databases import empty_redis_database

#: Rows and callbacks of a task, by its driver.
Ended = dict[str, tuple[list[str], list[str]]]


def _ended(worker: Told, keys: dict[str, str]) -> Ended:
    return {
        name: (
            worker.places[name].values(f"{key} "),
            [words for words in worker.said(key) if words == "after_commit"],
        )
        for name, key in keys.items()
    }


def _judge(name: str, ended: Ended, *, returns: bool) -> None:
    rows, called = ended[name]
    assert called == (["after_commit"] if returns else [])
    if ROWS[name].driver.transactional:
        assert len(rows) == (1 if returns else 0)


#: How Celery's worker is told to go, what its tasks do meanwhile, and whether they return.
SHUTDOWNS = {
    "warm": (signal.SIGTERM, "waits_for_release", {}, True),
    "soft": (signal.SIGQUIT, "waits", {"worker_soft_shutdown_timeout": 0.5}, False),
    "cold": (signal.SIGQUIT, "waits", {}, False),
}


@pytest.fixture(scope="module", params=SHUTDOWNS)
def shut_down(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    places: dict[str, Place],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Ended]:
    """Shut a worker of Celery down while a task of every driver is in its transaction."""
    number, way, settings, _ = SHUTDOWNS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    with celery_worker(redis_server, places, folder, "-c", str(len(ROWS)), **settings) as worker:
        keys = {name: f"{request.param}-{name}" for name in ROWS}
        for name, key in keys.items():
            worker.send(way, name, key)
        for key in keys.values():
            worker.wait_for("in-transaction", key)
        worker.script.send(number)
        if request.param == "warm":
            worker.script.wait_for("Warm shutdown")
            (folder / "release").touch()
        worker.script.wait(60)
        return request.param, _ended(worker, keys)


@pytest.mark.parametrize("name", ROWS)
def test_celery_shutdown(shut_down: tuple[str, Ended], name: str) -> None:
    """A task that a warm shutdown lets return is committed; one that a cold or soft one ends is rolled back."""
    kind, ended = shut_down

    _judge(name, ended, returns=SHUTDOWNS[kind][3])


#: How RQ's workers are told to go, what their jobs do meanwhile, and whether they return: worker, way, times told.
RQ_SHUTDOWNS = {
    "warm": ("taskconn.rq.Worker", "waits_for_release", 1, True),
    "cold": ("taskconn.rq.Worker", "waits", 2, False),
    "heroku": ("tests.rq.workers.HastyHerokuWorker", "waits", 1, False),
}


@pytest.fixture(scope="module", params=RQ_SHUTDOWNS)
def rq_shut_down(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    places: dict[str, Place],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Ended]:
    """Shut RQ's workers down while a job of every driver is in its transaction."""
    kind, way, times, _ = RQ_SHUTDOWNS[request.param]
    folder = tmp_path_factory.mktemp("rq-shutdown")
    with empty_redis_database(redis_server, 33) as redis, rq_workers(redis, places, folder, kind) as workers:
        keys = {name: f"rq-{request.param}-{name}" for name in ROWS}
        for name, key in keys.items():
            workers.enqueue(way, name, key)
        for key in keys.values():
            workers.wait_for("in-transaction", key)
        told = {worker.name: psutil.Process(worker.pid) for worker in Worker.all(workers.queue.connection)}
        for number in range(times):
            if number:
                time.sleep(1.1)  # RQ takes a signal that follows within a second for the same one, sent to the group
            for process in told.values():
                process.send_signal(signal.SIGTERM)
        if way == "waits_for_release":
            workers.script.wait_for("[Ww]arm shut down requested", count=len(told))
            (folder / "release").touch()
        _, left = psutil.wait_procs(told.values(), 60)
        assert not left, workers.script.output
        return request.param, _ended(workers, keys)


@pytest.mark.parametrize("name", ROWS)
def test_rq_shutdown(rq_shut_down: tuple[str, Ended], name: str) -> None:
    """A job that a warm shutdown lets return is committed; one that a cold one or Heroku's ends is rolled back."""
    kind, ended = rq_shut_down

    _judge(name, ended, returns=RQ_SHUTDOWNS[kind][3])


@pytest.fixture(scope="module")
def timers(
    redis_server: RedisServer, places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """Give workers whose limits come from another thread."""
    with empty_redis_database(redis_server, 32) as redis:
        with rq_workers(redis, places, tmp_path_factory.mktemp("rq"), "tests.outcomes.jobs.TimerWorker") as started:
            yield started


THROWN = {
    "timeout": Case("waits", [], "failed JobTimeoutException", ["on_failure JobTimeoutException"], {"job_timeout": 1}),
    "timeout in a statement": Case(
        "waits_in_statement", [], "failed JobTimeoutException", ["on_failure JobTimeoutException"], {"job_timeout": 1}
    ),
}


@pytest.fixture(scope="module")
def batch(request: pytest.FixtureRequest, timers: Workers) -> Batch:
    """Give one case, under way for every driver."""
    return Batch(request.param, timers)


@pytest.mark.parametrize("name", ROWS)
@each_case(THROWN)
def test_limit_from_another_thread(batch: Batch, name: str) -> None:
    """`TimerDeathPenalty` throws into the thread that works: rolled back, and RQ is told of its timeout."""
    batch.check(name)
