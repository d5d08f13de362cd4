"""What a job costs in round trips to Redis, and that the worker is seen there all the same."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from rq.job import JobStatus

from tests.rq.conftest import Workplace

_COUNTED = """
import os
import redis.connection
from redis import Redis
from rq import Queue
from rq.utils import import_attribute

trips = 0
send = redis.connection.Connection.send_packed_command

def counted(self, *args, **kwargs):
    global trips
    trips += 1
    return send(self, *args, **kwargs)

redis.connection.Connection.send_packed_command = counted

def begin_anew():
    global trips, job_began
    trips = job_began = 0

os.register_at_fork(after_in_child=begin_anew)
job_began = 0

class Counted(import_attribute(os.environ["TEST_CLASS"])):
    began = None

    def execute_job(self, job, queue):
        if self.began is not None:
            print("per job", trips - self.began, flush=True)
        self.began = trips
        super().execute_job(job, queue)

    def handle_job_success(self, *args, **kwargs):
        global job_began
        super().handle_job_success(*args, **kwargs)
        os.write(1, f"in the job's process {trips - job_began}\\n".encode())
        job_began = trips

connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
queues = [Queue(name, connection=connection) for name in os.environ["TEST_QUEUES"].split()]
Counted(queues, connection=connection).work(burst=True)
"""


@pytest.mark.parametrize(
    ("name", "queues", "in_worker", "in_job"),
    [
        pytest.param("taskconn.rq.Worker", "default", 3, 9, id="Worker"),  # 5 of them make its connection
        pytest.param("taskconn.rq.WarmWorker", "default", 3, 4, id="WarmWorker"),
        pytest.param("taskconn.rq.SimpleWorker", "default", 7, 7, id="SimpleWorker"),
        pytest.param("taskconn.rq.WarmWorker", "default other", 4, 4, id="WarmWorker of two queues"),
    ],
)
def test_round_trips_of_a_job(workplace: Workplace, name: str, queues: str, in_worker: int, in_job: int) -> None:
    """RQ's own worker needs 15 and 10, and one that does not fork 20."""
    for _ in range(4):
        workplace.enqueue_warm("pid")

    environ = {**workplace.environ, "TEST_CLASS": name, "TEST_QUEUES": queues}
    output = workplace.start(_COUNTED, environ=environ).succeed()

    assert [int(line.split()[-1]) for line in output.splitlines() if line.startswith("per job")] == [in_worker] * 3
    assert int(output.rpartition("in the job's process ")[2].split()[0]) == in_job


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]], ids=["one queue", "two queues"])
@pytest.mark.parametrize("name", ["Worker", "WarmWorker", "SimpleWorker", "SpawnWorker"])
def test_job_that_runs_is_registered(workplace: Workplace, name: str, queues: list[str]) -> None:
    """While a job runs its execution stands where RQ looks for it, and afterwards nowhere."""
    redis = workplace.queue.connection
    workplace.enqueue_warm("pid")
    job = workplace.enqueue_warm("wait_until_told", "told")
    worker = workplace.worker(name, *queues)
    worker.wait_for("waiting")
    (key,) = redis.smembers("rq:workers")

    (execution,) = job.get_executions()
    assert execution.worker_name == key.decode().rpartition(":")[2]
    assert workplace.queue.started_job_registry.get_job_ids() == [job.id]
    assert redis.smembers(f"{key.decode()}:executions") == {execution.composite_key.encode()}
    assert workplace.refreshed(job).get_status() == JobStatus.STARTED
    assert workplace.queue.intermediate_queue.get_job_ids() == []
    redis.rpush("told", 1)
    worker.succeed()

    assert job.get_executions() == []
    assert workplace.queue.started_job_registry.get_job_ids() == []


@pytest.mark.parametrize("name", ["Worker", "WarmWorker", "SimpleWorker"])
@pytest.mark.parametrize("words", [[], ["--max-jobs", "1"]], ids=["no job left", "jobs enough"])
def test_worker_that_has_ended_was_idle(workplace: Workplace, name: str, words: list[str]) -> None:
    """What RQ keeps of it for a minute says so, though the last job was followed by no wait."""
    workplace.enqueue_warm("pid")

    workplace.worker(name, *words).succeed()

    (key,) = workplace.queue.connection.keys("rq:worker:*")
    assert workplace.queue.connection.hmget(key, "state", "successful_job_count") == [b"idle", b"1"]


@pytest.mark.parametrize("name", ["Worker", "SimpleWorker"])
def test_worker_that_has_had_no_job_is_idle(workplace: Workplace, name: str) -> None:
    """It says so before it waits for its first one."""
    redis = workplace.queue.connection
    worker = workplace.worker(name, burst=False)

    _until(lambda: [redis.hget(key, "state") for key in redis.keys("rq:worker:*")] == [b"idle"])

    assert worker.stop() == 0


@pytest.mark.parametrize("name", ["Performing", "PerformingBehind", "Preparing"])
def test_execution_is_registered_whatever_a_class_makes_of_a_jobs_start(workplace: Workplace, name: str) -> None:
    """A class of a user's that begins jobs otherwise finds it registered before, as with RQ."""
    job = workplace.enqueue_warm("pid")

    workplace.worker(f"tests.rq.workers.{name}").succeed()

    assert workplace.queue.connection.lrange("executions", 0, -1) == [job.id.encode()]


@pytest.mark.parametrize("function", ["sleep_in_python", "ask_for_another_try"])
def test_end_of_a_job_is_its_last_heartbeat(workplace: Workplace, function: str) -> None:
    """It is written with the outcome, also where RQ leaves the record of the job as it is."""
    job = workplace.enqueue_warm(function, 0.01)

    workplace.worker("WarmWorker").succeed()

    ended = workplace.refreshed(job)
    assert ended.last_heartbeat - ended.started_at >= timedelta(milliseconds=10)


def test_busy_worker_lives_on_though_it_writes_no_heartbeat(workplace: Workplace) -> None:
    """The jobs' process keeps its record alive, which is written anew when the worker waits, for longer."""
    redis = workplace.queue.connection
    for _ in range(3):
        workplace.enqueue_warm("pid")
    workplace.enqueue_warm("wait_until_told", "told")
    worker = workplace.worker("WarmWorker", burst=False)
    worker.wait_for("waiting")
    (key,) = redis.smembers("rq:workers")

    assert redis.hget(key, "state") == b"busy"
    assert 60 < redis.ttl(key) <= 90
    assert redis.ttl(f"{key.decode()}:executions") > 60
    redis.rpush("told", 1)
    _until(lambda: redis.hget(key, "state") == b"idle" and redis.ttl(key) > 420)

    assert worker.stop() == 0


_VERSIONS = """
import importlib.metadata, os
from redis import Redis
from rq import Queue
from taskconn.rq import Worker

find = importlib.metadata.version
importlib.metadata.version = lambda name: (os.write(1, f"{name} in {os.getpid()}\\n".encode()), find(name))[1]
connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
Worker([Queue(connection=connection)], connection=connection).work(burst=True)
"""


def test_horses_do_not_look_for_the_version_of_redis_py(workplace: Workplace) -> None:
    """It does so for each connection; the worker's knows already."""
    workplace.enqueue_warm("pid")
    workplace.enqueue_warm("pid")

    worker = workplace.start(_VERSIONS, environ=workplace.environ)
    worker.succeed()

    assert set(re.findall(r"redis in (\d+)", worker.output)) <= {str(worker.pid)}


@pytest.mark.parametrize("name", ["Worker", "WarmWorker"])
def test_worker_is_seen_busy_then_idle_and_alive(workplace: Workplace, name: str) -> None:
    """State and heartbeat are in Redis while a job runs and after it, and the worker's record outlives a long wait."""
    redis = workplace.queue.connection
    workplace.enqueue_warm("wait_until_told", "told")
    worker = workplace.worker(name, burst=False)
    worker.wait_for("waiting")
    (key,) = redis.smembers("rq:workers")

    assert redis.hget(key, "state") == b"busy"
    assert redis.ttl(key) <= 90
    redis.rpush("told", 1)
    _until(lambda: redis.hget(key, "state") == b"idle" and redis.ttl(key) > 420)

    assert worker.stop() == 0


def _until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.01)
