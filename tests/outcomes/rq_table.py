"""The table of outcomes under RQ: a case is enqueued for every driver at once, and read back from the database."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rq import Callback, Queue
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.job import Job

from tests.drivers.rows import ROWS
from tests.outcomes.celery_worker import PATIENCE_S
from tests.outcomes.places import Place
from tests.support.databases import RedisDatabase
from tests.support.process import Script

_JOBS = "tests.outcomes.jobs"

#: What is said of a job that returns.
COMMITTED = ["after_commit", "on_success"]


@dataclass(frozen=True)
class Case:
    """
    One row of the table.

    Attributes:
        way: What the job does, in `jobs.py`.
        rows: Attempts whose row is in the database afterwards.
        state: RQ's, and the error's name.
        said: Which callbacks run.
        options: Of `enqueue`.
        command: Sent once the job is in its transaction: ``"stop"``, ``"kill"``.
        elsewhere: Drivers with which it ends in another way, and how.
    """

    way: str
    rows: list[int]
    state: str
    said: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    elsewhere: Mapping[str, Case] = field(default_factory=dict)


class Workers:
    """
    Run several workers, whose aliases are the drivers' names.

    Attributes:
        script: Their common parent and its output.
        places: Where jobs write.
        queue: Where they are enqueued.
        folder: Where the workers' log is, and the book of their jobs.
    """

    def __init__(self, script: Script, places: Mapping[str, Place], queue: Queue, folder: Path) -> None:
        self.folder = folder
        self.script = script
        self.places = places
        self.queue = queue

    def enqueue(self, way: str, driver: str, key: str, **options: Any) -> Job:
        """Enqueue one job."""
        callbacks = {name: Callback(f"{_JOBS}.told_{name[3:]}") for name in ("on_success", "on_failure", "on_stopped")}
        return self.queue.enqueue(f"{_JOBS}.{way}_{driver}", args=(key,), **callbacks, **options)

    def said(self, key: str) -> list[str]:
        """List what was said of a job so far, in order: ``"after_commit"``, ``"on_failure ValueError"``, ..."""
        found = re.findall(rf"^SAY (\S+) {re.escape(key)}\b ?(.*)$", self.script.output, re.MULTILINE)
        return [" ".join(filter(None, words)) for words in found]

    def wait_for(self, words: str, key: str, *, count: int = 1) -> None:
        """Wait until *words* were said of a job."""
        what, _, rest = words.partition(" ")
        try:
            self.script.wait_for(rf"^SAY {what} {re.escape(key)}\b ?{rest}", PATIENCE_S, count=count)
        except AssertionError:
            raise AssertionError(f"{key}: no {words!r} among {self.said(key)}; see {self.script.log_path}") from None

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


class Batch:
    """One case, enqueued for every driver at once."""

    _counter = itertools.count()

    def __init__(self, case: Case, workers: Workers) -> None:
        self.case = case
        self.workers = workers
        self._sent: dict[str, tuple[str, Job]] = {}
        self._problems: dict[str, AssertionError] = {}
        for name in ROWS:
            key = f"{case.way}-{name}-{next(self._counter)}"
            self._sent[name] = key, workers.enqueue(case.way, name, key, **case.options)
        if case.command:
            for name in ROWS:
                self._command(name)

    def check(self, name: str) -> None:
        """Wait for the end of one driver's job, and compare."""
        if name in self._problems:
            raise self._problems[name]
        case, (key, job) = self.case.elsewhere.get(name, self.case), self._sent[name]
        for words in set(case.said):
            self.workers.wait_for(words, key, count=case.said.count(words))
        state = self.workers.state(job, case.state)
        rows = [int(value.rpartition(" ")[2]) for value in self.workers.places[name].values(f"{key} ")]
        kept = case.rows if ROWS[name].driver.transactional else sorted({*case.rows, 0})
        said = sorted(words for words in self.workers.said(key) if words != "in-transaction")
        assert (rows, state, said) == (kept, case.state, sorted(case.said))

    def _command(self, name: str) -> None:
        key, job = self._sent[name]
        try:
            self.workers.wait_for("in-transaction", key)
        except AssertionError as problem:
            self._problems[name] = problem
            return
        if self.case.command == "stop":
            send_stop_job_command(job.connection, job.id)
        else:
            job.refresh()
            assert job.worker_name is not None
            send_kill_horse_command(job.connection, job.worker_name)


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
