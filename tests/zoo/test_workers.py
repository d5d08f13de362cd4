"""The guard's modes in real workers of Celery and RQ, by their own settings."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus

from tests.guard.conftest import reports
from tests.support.process import Script
from tests.zoo.table import BROKEN, Case

Start = Callable[..., Script]

_CASES = {case.name: case for case in BROKEN}


@pytest.fixture
def redis(zoo_environ: dict[str, str]) -> Iterator[Redis]:
    """Give a client of the emptied database that workers of the zoo use."""
    with Redis.from_url(zoo_environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client


def celery_worker(zoo_script: Start, case: Case, app: str = "app", **environ: str) -> Script:
    """Start a worker with one child."""
    name = f"{uuid.uuid4().hex[:8]}@local"
    words = ["-A", app, "worker", "-c", "1", "-n", name, "-l", "info", "--without-gossip", "--without-mingle"]
    return zoo_script(case, [sys.executable, "-m", "celery", *words], **environ)


def test_raise_ends_a_celery_worker_at_its_start_with_one_error(zoo_script: Start, redis: Redis) -> None:
    """A worker whose first fork is refused ends with exit code 1 and an error that names the line; it does not loop."""
    worker = celery_worker(zoo_script, _CASES["worker_init"], TASKCONN_GUARD="raise")

    assert worker.wait(60) == 1
    assert worker.output.count("Unrecoverable error: ForkRefusedError") == 1
    assert "opened at app.py:17 in connect" in worker.output
    assert "ready." not in worker.output


def test_raise_ends_a_celery_worker_when_a_child_can_not_be_replaced(
    zoo_script: Start, redis: Redis, zoo_environ: dict[str, str]
) -> None:
    """A connection that the worker has opened meanwhile refuses the fork of the next child; the worker ends."""
    worker = celery_worker(zoo_script, _CASES["on_failure_in_parent"], TASKCONN_GUARD="raise")
    worker.wait_for(r"\bready\.", 60)
    with Celery("client", broker=zoo_environ["REDIS_URL"], set_as_current=False) as client:
        client.send_task("app.work", ignore_result=True)

    assert worker.wait(60) == 1
    assert worker.output.count("ERROR/MainProcess] Error in timer: ForkRefusedError") <= 1
    assert worker.output.count("Unrecoverable error: ForkRefusedError") <= 1
    assert "opened at app.py:20 in on_failure" in worker.output


def test_setting_of_celery_fences_the_children(
    zoo_script: Start, redis: Redis, zoo_environ: dict[str, str], tmp_path: Path
) -> None:
    """With `taskconn_guard = "fence"` a task that uses the parent's connection fails, and its error names the line."""
    source = (_CASES["worker_init"].folder / "app.py").read_text()
    line = source.partition('"conn"] = ')[0].count("\n") + 1
    (tmp_path / "fenced.py").write_text(source + '\napp.conf.taskconn_guard = "fence"\n')
    worker = celery_worker(zoo_script, _CASES["worker_init"], "fenced", PYTHONPATH=str(tmp_path))
    worker.wait_for(r"\bready\.", 60)
    with Celery("client", broker=zoo_environ["REDIS_URL"], set_as_current=False) as client:
        client.send_task("fenced.work", ignore_result=True)

    worker.wait_for(r"Task fenced\.work\[\S+\] raised unexpected", 60)
    assert re.search(
        rf"ERROR/MainProcess\] process \d+ forks with .*fenced\.py:{line} in connect: fenced", worker.output
    )
    assert re.search(rf"taskconn fenced the MySQL connection .*fenced\.py:{line} in connect", worker.output)
    worker.stop(timeout=60)


def test_raise_ends_a_worker_of_rq_before_it_takes_a_job(zoo_script: Start, redis: Redis) -> None:
    """A worker that could start no horse says so at its start, and leaves the jobs to others."""
    Queue(connection=redis).enqueue("jobs.work", job_id="one")

    worker = zoo_script(_CASES["rq_worker_script"], [sys.executable, "main.py"], TASKCONN_GUARD="raise")

    assert worker.wait(60) == 1
    assert "opened at main.py:10 in <module>" in worker.output
    assert Job.fetch("one", connection=redis).get_status() is JobStatus.QUEUED
    assert Queue(connection=redis).job_ids == ["one"]


def test_raise_fails_the_job_whose_horse_is_refused(zoo_script: Start, redis: Redis, tmp_path: Path) -> None:
    """When a horse is refused later the job fails with the error that names the line, and the worker ends."""
    main = """
import os, pymysql, taskconn.rq
from redis import Redis

class Worker(taskconn.rq.Worker):
    def execute_job(self, *arguments):
        self.conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
        super().execute_job(*arguments)

Worker(["default"], connection=Redis.from_url(os.environ["REDIS_URL"])).work(burst=True)
"""
    (tmp_path / "late.py").write_text(main)
    queue = Queue(connection=redis)
    for name in ("one", "two"):
        queue.enqueue("jobs.work", job_id=name)

    command = [sys.executable, str(tmp_path / "late.py")]
    worker = zoo_script(_CASES["rq_worker_script"], command, TASKCONN_GUARD="raise")

    assert worker.wait(60) == 1
    job = Job.fetch("one", connection=redis)
    assert job.get_status() is JobStatus.FAILED
    assert "late.py:7 in execute_job" in str(job.latest_result().exc_string)
    assert queue.job_ids == ["two"]


@pytest.mark.parametrize("mode", ["off", "warn"])
def test_settings_module_of_rq_sets_the_mode(zoo_script: Start, redis: Redis, tmp_path: Path, mode: str) -> None:
    """`TASKCONN_GUARD` in the module of `-c` is the worker's mode; a connection of that very module is found."""
    source = "import os, pymysql\nconn = pymysql.connect(read_default_file=os.environ['MYSQL_CNF'])\n"
    source += f"REDIS_URL = os.environ['REDIS_URL']\nTASKCONN_GUARD = {mode!r}\n"
    (tmp_path / "workers.py").write_text(source)
    Queue(connection=redis).enqueue("jobs.work")
    words = ["worker", "--burst", "-w", "taskconn.rq.Worker", "-c", "workers"]

    command = [sys.executable, "-m", "rq.cli", *words]
    worker = zoo_script(_CASES["rq_failure_callback"], command, PYTHONPATH=str(tmp_path))

    assert worker.wait(60) == 0, worker.output
    assert [report.where for report in reports(worker.output)] == (
        [] if mode == "off" else ["opened at workers.py:2 in <module>"]
    )
