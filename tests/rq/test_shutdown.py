"""SIGTERM to a worker between two jobs: RQ raises at whatever instruction it has interrupted, redis-py's among them."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from rq import Queue
from rq.suspension import suspend

from examples.servers import Redis
from tests.rq.conftest import Workplace
from tests.rq.moments import is_waiting
from tests.rq.waiting import until
from tests.support.process import Script

every_kind = pytest.mark.parametrize("name", ["WarmWorker", "Worker", "SimpleWorker"])


def _strike(workplace: Workplace, worker: str, *words: str) -> list[str]:
    """Strike at many lines, a worker for each; return what went wrong."""
    script = workplace.start([sys.executable, "-m", "tests.rq.moments", worker, workplace.redis.url, *words])
    found = [json.loads(line) for line in script.succeed().splitlines() if line.startswith("{")]
    assert found.pop()["moments"] >= 8
    return [f"line {one['line']}, {one['place']}: {one['faults']}" for one in found]


@every_kind
def test_worker_that_becomes_idle_can_be_stopped_at_any_line(workplace: Workplace, name: str) -> None:
    """Every 97th line from the end of the last job until the wait for the next one; one in ten was a bad one."""
    assert _strike(workplace, f"taskconn.rq.{name}", "--step", "97") == []


@pytest.mark.parametrize(("name", "step"), [("WarmWorker", "397"), ("Worker", "397"), ("SimpleWorker", "997")])
def test_worker_that_takes_a_job_can_be_stopped_at_any_line(workplace: Workplace, name: str, step: str) -> None:
    """A job that was taken is run, and one that was not stays in the queue; SimpleWorker runs a job's lines itself."""
    assert _strike(workplace, f"taskconn.rq.{name}", "--jobs", "3", "--step", step) == []


def test_worker_of_two_queues_can_be_stopped_at_any_line(workplace: Workplace) -> None:
    """It waits by another command, BLPOP."""
    assert _strike(workplace, "taskconn.rq.WarmWorker", "--queues", "default", "other", "--step", "97") == []


@pytest.mark.parametrize(
    ("first", "last", "step"), [("1", "700", "17"), ("700", "99999", "1497")], ids=["between two jobs", "in later jobs"]
)
def test_warm_horse_can_be_killed_at_any_line(workplace: Workplace, first: str, last: str, step: str) -> None:
    """It costs one job at the most, which counts as failed; none is lost, or done twice."""
    words = ("--horse", "--jobs", "3", "--first", first, "--last", last, "--step", step)
    assert _strike(workplace, "taskconn.rq.WarmWorker", *words) == []


def _waiting(workplace: Workplace, name: str, *words: str) -> Script:
    worker = workplace.worker(name, *words, burst=False)
    until(lambda: is_waiting(workplace.queue.connection))
    return worker


@every_kind
def test_wait_for_a_job_is_ended_at_the_server(workplace: Workplace, name: str) -> None:
    """The wait is over at once, and nothing is left of it."""
    worker = _waiting(workplace, name)

    assert worker.stop() == 0, worker.output

    assert not is_waiting(workplace.queue.connection)
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("transport", ["tls_url", "unix_url"])
def test_wait_is_ended_whatever_the_transport(script: Callable[..., Script], transport: str) -> None:
    """What of a job's arrival TLS has buffered already is not waited for again."""
    with Redis(tls=True) as redis, redis.connect() as client:
        url = getattr(redis, transport)()
        worker = script([sys.executable, "-m", "rq.cli", "worker", "-w", "taskconn.rq.WarmWorker", "--url", url])
        until(lambda: is_waiting(client))
        Queue(connection=client).enqueue("tests.rq.warm_jobs.pid")
        worker.wait_for("Job OK")
        until(lambda: is_waiting(client))

        assert worker.stop() == 0, worker.output
        assert not is_waiting(client)


def test_job_that_comes_as_the_wait_is_ended_is_run(workplace: Workplace) -> None:
    """The server has given it: RQ would leave it behind, to be called failed a minute later."""
    worker = _waiting(workplace, "tests.rq.shutdown_workers.JobAtTheBell")

    assert worker.stop() == 0, worker.output

    assert "Job OK" in worker.output
    assert (workplace.queue.count, workplace.queue.intermediate_queue.get_job_ids()) == (0, [])


def test_server_is_asked_again_while_the_wait_goes_on(workplace: Workplace) -> None:
    """The first request may overtake the command that waits."""
    worker = _waiting(workplace, "tests.rq.shutdown_workers.UnblockedTooEarly")

    assert worker.stop() == 0, worker.output

    assert "asked 2" in worker.output


def test_wait_that_another_server_is_asked_to_end_is_left(workplace: Workplace) -> None:
    """A proxy may lead each connection to a server of its own."""
    worker = _waiting(workplace, "tests.rq.shutdown_workers.UnblockedElsewhere")

    assert worker.stop() == 0, worker.output

    until(lambda: not is_waiting(workplace.queue.connection))


def test_wait_that_may_not_be_ended_at_the_server_is_left(workplace: Workplace) -> None:
    """A user of Redis that has no right to CLIENT: the connection is given up, as by RQ."""
    redis, user = workplace.queue.connection, f"driver-{uuid.uuid4().hex}"
    redis.acl_setuser(user, enabled=True, passwords=["+s3cret"], categories=["+@all"], commands=["-client"], keys=["*"])
    redis.execute_command("ACL", "SETUSER", user, "allchannels")
    try:
        workplace.environ["TEST_REDIS_URL"] = (
            urlsplit(workplace.redis.url)
            ._replace(netloc=f"{user}:s3cret@{urlsplit(workplace.redis.url).netloc}")
            .geturl()
        )
        worker = _waiting(workplace, "WarmWorker")

        assert worker.stop() == 0, worker.output
        assert "Traceback" not in worker.output
        until(lambda: not is_waiting(redis))
    finally:
        redis.acl_deluser(user)


def test_client_that_waits_in_its_own_way_is_left_to_rq(workplace: Workplace) -> None:
    """What a class of a user's does instead of redis-py's method is done."""
    worker = _waiting(workplace, "tests.rq.shutdown_workers.OwnClient")

    assert worker.stop() == 0, worker.output


def test_suspended_worker_stops(workplace: Workplace) -> None:
    """It sleeps, and looks again."""
    worker = _waiting(workplace, "WarmWorker")
    suspend(workplace.queue.connection)
    workplace.enqueue_warm("pid")
    worker.wait_for("suspended, run `rq resume`")

    assert worker.stop() == 0, worker.output


@pytest.mark.parametrize("name", ["taskconn.rq.WarmWorker", "tests.rq.shutdown_workers.StoppedInHeartbeat"])
def test_worker_whose_redis_is_gone_stops(script: Callable[..., Script], name: str) -> None:
    """It tries again and again; RQ says by the exit code that it could not sign off."""
    with Redis() as redis:
        worker = script([sys.executable, "-m", "rq.cli", "worker", "-w", name, "--url", redis.url()])
        until(lambda: is_waiting(redis.connect()))
        redis.kill9()
        if name.startswith("taskconn"):
            worker.wait_for("could not connect to Redis instance")
            worker.send(signal.SIGTERM)

        assert worker.wait() == 1
        assert "warm shut down requested" in worker.output
