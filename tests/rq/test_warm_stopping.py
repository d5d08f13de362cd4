"""A worker with a warm horse: shutdowns, and the commands that stop, kill or suspend."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest
from rq import Callback
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.job import JobStatus
from rq.suspension import resume, suspend

from tests.rq.conftest import Workplace
from tests.rq.waiting import idle, until


def test_warm_shutdown_waits_for_the_job(workplace: Workplace) -> None:
    """SIGTERM to the worker: the job that runs is finished, no other one begins, and the horse is gone."""
    job, after = workplace.enqueue_warm("wait_until_told", "told"), workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", burst=False)
    horse = int(worker.wait_for(r"waiting (\d+)")[1])

    worker.send(signal.SIGTERM)
    worker.wait_for("warm shut down requested")
    workplace.queue.connection.rpush("told", 1)
    worker.succeed()

    assert job.return_value() == horse
    assert after.get_status() == JobStatus.QUEUED
    assert not psutil.pid_exists(horse)


def test_cold_shutdown_kills_the_horse(workplace: Workplace) -> None:
    """The second SIGTERM, a second later, ends the worker and its horse; the job is left as RQ leaves it."""
    job = workplace.enqueue_warm("wait")
    worker = workplace.worker("WarmWorker", burst=False)
    horse = int(worker.wait_for(r"waiting (\d+)")[1])

    worker.send(signal.SIGTERM)
    worker.wait_for("warm shut down requested")
    until(lambda: worker.send(signal.SIGTERM) or "cold shut down" in worker.output)
    worker.wait()

    assert not psutil.pid_exists(horse)
    assert job.get_status() == JobStatus.STARTED


@pytest.mark.parametrize("both", [False, True], ids=["worker", "worker and horse"])
def test_idle_worker_ends_at_once(workplace: Workplace, aborted: Callable[[], int], both: bool) -> None:
    """SIGTERM to an idle worker, or to all processes as systemd and Heroku send it, ends both with a goodbye."""
    workplace.enqueue("insert", "one")
    worker, horse = idle(workplace)

    if both:
        os.kill(horse, signal.SIGTERM)
    assert worker.stop() == 0

    assert not psutil.pid_exists(horse)
    assert aborted() == 0


def test_stopped_job_runs_its_callback_in_the_worker(workplace: Workplace) -> None:
    """``stop-job``: the horse is killed, the job STOPPED, the callback run by the worker."""
    before = workplace.enqueue_warm("pid")
    stopped = workplace.enqueue("insert_and_wait", "lost", on_stopped=Callback("tests.rq.jobs.insert_when_stopped"))
    after = workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker")
    worker.wait_for(r"waiting (\d+)")

    send_stop_job_command(workplace.queue.connection, stopped.id)
    worker.succeed()

    assert stopped.get_status() == JobStatus.STOPPED
    assert [row[1] for row in workplace.seen()] == [worker.pid]
    assert before.return_value() != after.return_value() is not None


def test_killed_horses_handler_is_called_in_the_worker(workplace: Workplace) -> None:
    """``kill-horse``: the job fails, and `work_horse_killed_handler` gets what it gets from RQ."""
    source = """
from redis import Redis
from rq import Queue
from taskconn.rq import WarmWorker
import os
connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
def handler(job, pid, status, usage):
    print("handler", job.id, pid, os.WTERMSIG(status), usage.ru_utime >= 0, os.getpid(), flush=True)
queue = Queue(connection=connection)
WarmWorker([queue], name="mine", connection=connection, work_horse_killed_handler=handler).work(burst=True)
"""
    job = workplace.enqueue_warm("wait")
    worker = workplace.start(source, environ=workplace.environ)
    horse = worker.wait_for(r"waiting (\d+)")[1]

    send_kill_horse_command(workplace.queue.connection, "mine")
    worker.succeed()

    assert f"handler {job.id} {horse} 9 True {worker.pid}" in worker.output
    assert job.get_status() == JobStatus.FAILED


def test_suspended_worker_runs_nothing_and_keeps_its_horse(workplace: Workplace) -> None:
    """``rq suspend`` and ``rq resume`` are obeyed between two jobs."""
    job, after = workplace.enqueue_warm("wait_until_told", "told"), workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", burst=False)
    worker.wait_for("waiting")

    suspend(workplace.queue.connection)
    workplace.queue.connection.rpush("told", 1)
    worker.wait_for("suspended, run")
    assert after.get_status() == JobStatus.QUEUED
    resume(workplace.queue.connection)
    worker.wait_for("Job OK", count=2)

    assert job.return_value() == after.return_value()
    assert worker.stop() == 0
