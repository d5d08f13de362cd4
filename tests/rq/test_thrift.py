"""What a job costs in round trips to Redis, and that the worker is seen there all the same."""

from __future__ import annotations

import time

import pytest

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

class Counted(import_attribute(os.environ["TEST_CLASS"])):
    began = None

    def execute_job(self, job, queue):
        if self.began is not None:
            print("per job", trips - self.began, flush=True)
        self.began = trips
        super().execute_job(job, queue)

    def perform_job(self, *args):
        before = trips
        try:
            return super().perform_job(*args)
        finally:
            os.write(1, f"in the job's process {trips - before}\\n".encode())

connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
Counted([Queue(connection=connection)], connection=connection).work(burst=True)
"""


@pytest.mark.parametrize(
    ("name", "in_worker", "in_job"),
    [
        pytest.param("taskconn.rq.Worker", 3, 9, id="Worker"),  # 5 of them make its connection
        pytest.param("taskconn.rq.WarmWorker", 3, 4, id="WarmWorker"),
        pytest.param("taskconn.rq.SimpleWorker", 7, 4, id="SimpleWorker"),
    ],
)
def test_round_trips_of_a_job(workplace: Workplace, name: str, in_worker: int, in_job: int) -> None:
    """RQ's own worker needs 15 and 10, and one that does not fork 20."""
    for _ in range(4):
        workplace.enqueue_warm("pid")

    output = workplace.start(_COUNTED, environ={**workplace.environ, "TEST_CLASS": name}).succeed()

    assert [int(line.split()[-1]) for line in output.splitlines() if line.startswith("per job")] == [in_worker] * 3
    assert int(output.rpartition("in the job's process ")[2].split()[0]) == in_job


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
    deadline = time.monotonic() + 30
    while redis.hget(key, "state") != b"idle" or redis.ttl(key) <= 420:
        assert time.monotonic() < deadline, (redis.hgetall(key), redis.ttl(key))
        time.sleep(0.01)

    assert worker.stop() == 0
