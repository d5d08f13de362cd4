"""The table of outcomes under RQ, and the workers that run its jobs."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rq import Callback, Queue
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.job import Job

from tests.drivers.rows import ROWS
from tests.outcomes import table
from tests.outcomes.places import Place
from tests.outcomes.told import PATIENCE_S, Told
from tests.support.databases import RedisDatabase
from tests.support.process import Script

_JOBS = "tests.outcomes.jobs"

#: What is said of a job that returns.
COMMITTED = ["after_commit", "on_success"]


@dataclass(frozen=True)
class Case(table.Case):
    """
    One row of the table.

    Attributes:
        command: Sent once the job is in its transaction: ``"stop"``, ``"kill"``.
    """

    command: str = ""

    @property
    def is_struck(self) -> bool:
        return bool(self.command)


class Workers(Told):
    """
    Run several workers, whose aliases are the drivers' names.

    Attributes:
        queue: Where jobs are enqueued.
    """

    def __init__(self, script: Script, places: Mapping[str, Place], queue: Queue, folder: Path) -> None:
        super().__init__(script, places, folder)
        self.queue = queue

    def enqueue(self, way: str, driver: str, key: str, **options: Any) -> Job:
        """Enqueue one job."""
        callbacks = {name: Callback(f"{_JOBS}.told_{name[3:]}") for name in ("on_success", "on_failure", "on_stopped")}
        return self.queue.enqueue(f"{_JOBS}.{way}_{driver}", args=(key,), **callbacks, **options)

    def ended(self, job: Job) -> str:
        """Wait for a job's end; gives its state, and its error's name."""
        ends_at = time.monotonic() + PATIENCE_S
        while not (job.get_status(refresh=True) in ("finished", "failed") or time.monotonic() > ends_at):
            time.sleep(0.02)
        return _describe(job)

    def state(self, job: Job, wanted: str) -> str:
        """Give a job's state, and its error's name; waits until it is as *wanted*, for it may come a little later."""
        ends_at = time.monotonic() + PATIENCE_S
        while (found := _describe(job)) != wanted and time.monotonic() < ends_at:
            time.sleep(0.02)
        return found


def _describe(job: Job) -> str:
    status = job.get_status(refresh=True)
    result = job.latest_result() if status == "failed" else None
    lines = result.exc_string.splitlines() if result is not None and result.exc_string else []
    name = next((line for line in reversed(lines) if re.match(r"[\w.]+(:|$)", line)), "")
    if not name:  # the worker's own words, of a horse that was killed
        return str(status.value)
    return f"{status.value} {name.partition(':')[0].rpartition('.')[2]}"


class Batch(table.Batch):
    """One case, enqueued for every driver at once."""

    case: Case
    worker: Workers

    def send(self, name: str, key: str) -> Job:
        return self.worker.enqueue(self.case.way, name, key, **self.case.options)

    def strike(self, sent: Job) -> None:
        if self.case.command == "stop":
            send_stop_job_command(sent.connection, sent.id)
        else:
            sent.refresh()
            assert sent.worker_name is not None
            send_kill_horse_command(sent.connection, sent.worker_name)

    def state(self, sent: Job, case: Case) -> str:
        return self.worker.state(sent, case.state)


@contextmanager
def rq_workers(
    redis: RedisDatabase,
    places: Mapping[str, Place],
    folder: Path,
    worker: str = "taskconn.rq.Worker",
    *,
    is_warm: bool = False,
) -> Iterator[Workers]:
    """Start as many workers as there are drivers; all are killed at the end."""
    environ = {
        "OUTCOMES_REDIS_URL": redis.url,
        "OUTCOMES_SETTINGS": json.dumps({name: {"url": place.url, "warm": is_warm} for name, place in places.items()}),
        "OUTCOMES_RELEASE": str(folder / "release"),
        "OUTCOMES_BOOK": str(folder / "book"),
    }
    command = [sys.executable, "-m", "rq.cli", "worker-pool", "-n", str(len(ROWS)), "-w", worker]
    command += ["-c", "tests.outcomes.rq_settings"]
    connection = redis.connect()
    with Script(command, environ=environ, log_path=folder / "workers.log") as script:
        yield Workers(script, places, Queue(connection=connection), folder)
    connection.close()
