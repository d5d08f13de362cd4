"""A limit that comes while COMMIT's answer is on its way makes no failure of what the server has committed."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from rq import Queue
from rq.job import JobStatus

from tests.support.databases import RedisDatabase
from tests.support.process import Script
from tests.support.wire import Wire

#: Tries for each task system and server: 200 in all where there is time for it.
TRIES = 50 if os.environ.get("FUZZ") == "full" else 5

#: Of Celery's tries each fifth has a soft limit of so many seconds, and Celery's own signal.
_SOFT_LIMIT_S = 0.5

_PATIENCE_S = 60.0
#: COMMIT on the wire, and not "SET AUTOCOMMIT".
_COMMITS = {"mysql": b"\x03COMMIT", "postgresql": b"COMMIT"}
_URLS = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg"}


class CeleryWorker:
    """
    A worker of Celery's, prefork, that serves one task at a time.

    Attributes:
        limit: Signal of its soft limit.
    """

    limit = signal.SIGUSR1

    def __init__(self, start: Callable[..., Script], redis: RedisDatabase, environ: dict[str, str]) -> None:
        self._client = Celery("client", broker=redis.url, backend=redis.url, set_as_current=False)
        words = ["-A", "tests.outcomes.held", "worker", "-c", "1", "-Q", "held", "-l", "info"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.script = start([sys.executable, "-m", "celery", *words, *quiet], environ=environ)
        self.script.wait_for(r"\bready\.", _PATIENCE_S)
        self._number = 0

    def send(self, key: str, function: str = "write") -> Any:
        """Send a task; each fifth has a limit of its own."""
        self._number += 1
        self.has_own_limit = self._number % 5 == 0
        limit = {"soft_time_limit": _SOFT_LIMIT_S} if self.has_own_limit else {}
        return self._client.send_task(function, (key,), queue="held", **limit)

    def interrupt(self, pid: int, sent: Any) -> None:
        """Have the limit's signal sent to the process that serves it, by Celery itself where it has a limit."""
        if self.has_own_limit:
            before = _wakes_of(pid)
            self.script.wait_for(rf"Soft time limit \({_SOFT_LIMIT_S}s\) exceeded for write\[{sent.id}\]", _PATIENCE_S)
            deadline = time.monotonic() + _SOFT_LIMIT_S
            # Celery says so before it sends the signal; which has come, perhaps, before they were counted.
            while _wakes_of(pid) == before and time.monotonic() < deadline:
                time.sleep(0.001)
        else:
            os.kill(pid, self.limit)

    def has_succeeded(self, sent: Any) -> bool:
        """Wait for its end, and tell what the worker reports."""
        sent.get(timeout=_PATIENCE_S, propagate=False)
        return bool(sent.state == "SUCCESS")

    def stop(self) -> None:
        """Let go of the broker."""
        self._client.close()


class RQWorker:
    """
    A worker of RQ's, which forks a work horse for each job.

    Attributes:
        limit: Signal of its death penalty.
    """

    limit = signal.SIGALRM

    def __init__(self, start: Callable[..., Script], redis: RedisDatabase, environ: dict[str, str]) -> None:
        self._queue = Queue(connection=redis.connect())
        words = ["worker", "-w", "taskconn.rq.Worker", "-c", "tests.outcomes.held"]
        self.script = start([sys.executable, "-m", "rq.cli", *words], environ=environ)

    def send(self, key: str, function: str = "write") -> Any:
        """Enqueue a job."""
        return self._queue.enqueue(f"tests.outcomes.held.{function}", key, job_timeout=120)

    def interrupt(self, pid: int, sent: Any) -> None:
        """Send the horse what the system sends it at its job's timeout."""
        os.kill(pid, self.limit)

    def has_succeeded(self, sent: Any) -> bool:
        """Wait for its end, and tell what the worker reports."""
        deadline = time.monotonic() + _PATIENCE_S
        while (status := sent.get_status()) not in {JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED}:
            assert time.monotonic() < deadline, status
            time.sleep(0.005)
        return bool(status == JobStatus.FINISHED)

    def stop(self) -> None:
        """Let go of Redis."""
        self._queue.connection.close()


def _wakes_of(pid: int) -> int:
    """Count how often a process that waits for its server has been woken, and waits again."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines())
        if lines["State"].startswith("S"):
            return int(lines["voluntary_ctxt_switches"])
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _wait_until_taken(pid: int) -> None:
    """Wait until no signal of *pid* is pending any more: the process has it, and is still waiting for its server."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        if not any(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))):
            return
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def _working(kind: Any, *arguments: Any) -> Iterator[Any]:
    worker = kind(*arguments)
    try:
        yield worker
    finally:
        worker.stop()


def _scene(
    family: str, request: pytest.FixtureRequest, wire: Callable[..., Wire], redis_db: RedisDatabase
) -> tuple[Any, Wire, dict[str, str]]:
    database = request.getfixturevalue(f"{family}_database")
    database.query("CREATE TABLE held (word VARCHAR(40))")
    proxy = wire(database.server)
    there = f"{database.server.host}:{database.server.port}/"
    url = f"{_URLS[family]}://{database.url.partition('://')[2]}".replace(there, f"{proxy.host}:{proxy.port}/")
    environ = {"HELD_REDIS_URL": redis_db.url, "HELD_DATABASE_URL": url}
    return database, proxy, environ


@pytest.mark.parametrize("family", _URLS)
@pytest.mark.parametrize("kind", [CeleryWorker, RQWorker], ids=["celery", "rq"])
def test_limit_during_a_commit_that_succeeds_reports_no_failure(
    kind: Any,
    family: str,
    request: pytest.FixtureRequest,
    wire: Callable[..., Wire],
    redis_db: RedisDatabase,
    script: Callable[..., Script],
) -> None:
    """While the proxy holds COMMIT's answer the limit's signal comes: the row is there, and the task has succeeded."""
    database, proxy, environ = _scene(family, request, wire, redis_db)
    reported = []
    with _working(kind, script, redis_db, environ) as worker:
        for number in range(TRIES):
            key = f"row-{number}"
            proxy.hold_answer_to(_COMMITS[family])
            sent = worker.send(key)
            pid = int(worker.script.wait_for(rf"^WROTE {key} (\d+)$", _PATIENCE_S)[1])
            assert proxy.has_come.wait(_PATIENCE_S)
            worker.interrupt(pid, sent)
            _wait_until_taken(pid)
            proxy.release_answers()
            reported.append(worker.has_succeeded(sent))
        output = worker.script.output

    rows = database.query("SELECT COUNT(*) FROM held")[0][0]
    assert (rows, reported) == (TRIES, [True] * TRIES), output
    assert output.count("came during a COMMIT that succeeded: dropped") == TRIES, output


@pytest.mark.parametrize("kind", [CeleryWorker, RQWorker], ids=["celery", "rq"])
def test_handlers_of_the_tasks_own_are_called_and_kept(
    kind: Any,
    request: pytest.FixtureRequest,
    wire: Callable[..., Wire],
    redis_db: RedisDatabase,
    script: Callable[..., Script],
) -> None:
    """A task's own handlers, nested ones too, are called after the COMMIT that their signals came in, and stay set."""
    database, proxy, environ = _scene("mysql", request, wire, redis_db)

    with _working(kind, script, redis_db, environ) as worker:
        proxy.hold_answer_to(_COMMITS["mysql"])
        sent = worker.send("row", "listen")
        pid = int(worker.script.wait_for(r"^WROTE row (\d+)$", _PATIENCE_S)[1])
        assert proxy.has_come.wait(_PATIENCE_S)
        for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM):
            os.kill(pid, number)
        _wait_until_taken(pid)
        assert "HEARD" not in worker.script.output
        proxy.release_answers()
        assert worker.has_succeeded(sent), worker.script.output
        worker.script.wait_for(r"^KEPT row True$", _PATIENCE_S)
        output = worker.script.output

    assert database.query("SELECT word FROM held") == [("row",)]
    assert sorted(re.findall(r"^HEARD row (\d+)$", output, re.MULTILINE)) == sorted(
        str(int(number)) for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM)
    )
