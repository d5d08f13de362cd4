"""A place to work: a database with a table, a queue, and workers of the ``rq`` command line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from examples.servers import MySQLServer
from tests.support.databases import MySQLDatabase, RedisDatabase
from tests.support.process import ROOT, Script

#: Longest wait for what is only a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


@dataclass
class Workplace:
    """
    Hold what a test with RQ needs.

    Attributes:
        database: A database with the table ``seen``, one row for each note of `tests.rq.jobs`.
        redis: An empty Redis database.
        queue: RQ's default queue in it.
        environ: Variables for the workers.
    """

    database: MySQLDatabase
    redis: RedisDatabase
    start: Callable[..., Script]
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = Queue(connection=self.redis.connect())
        self.environ |= {"TEST_REDIS_URL": self.redis.url, "TEST_DATABASE_URL": self.database.url}

    def rq(self, *words: str, **environ: str) -> Script:
        """Start the ``rq`` command."""
        return self.start([sys.executable, "-m", "rq.cli", *words], environ={**self.environ, **environ})

    def worker(
        self,
        name: str = "Worker",
        *words: str,
        config: str = "tests.rq.settings",
        command: str = "worker",
        burst: bool = True,
        **environ: str,
    ) -> Script:
        """Start a worker of a class of ours, or of a dotted one; in burst mode unless said otherwise."""
        dotted = name if "." in name else f"taskconn.rq.{name}"
        words = ("--burst", *words) if burst else words
        return self.rq(command, "-w", dotted, "-c", config, *words, **environ)

    def enqueue(self, function: str, *args: Any, **options: Any) -> Job:
        """Enqueue a function of `tests.rq.jobs` by its name."""
        return self.queue.enqueue(f"tests.rq.jobs.{function}", args=args, **options)

    def enqueue_warm(self, function: str, *args: Any, **options: Any) -> Job:
        """Enqueue a function of `tests.rq.warm_jobs` by its name."""
        return self.queue.enqueue(f"tests.rq.warm_jobs.{function}", args=args, **options)

    def seen(self, *names: str) -> list[tuple[str, int, int]]:
        """List the notes, those of *names* if some are given: name, pid, session."""
        rows = self.database.query("SELECT name, pid, session FROM seen ORDER BY id")
        return [row for row in rows if not names or row[0] in names]

    def refreshed(self, job: Job) -> Job:
        """Fetch *job* anew."""
        return Job.fetch(job.id, connection=self.queue.connection)

    def error_of(self, job: Job) -> str:
        """Give what RQ has recorded of the job's failure."""
        result = job.latest_result()
        assert result is not None
        return str(result.exc_string)


@pytest.fixture
def workplace(mysql_database: MySQLDatabase, redis_db: RedisDatabase, script: Callable[..., Script]) -> Workplace:
    """Give a place to work, for one test."""
    mysql_database.query(
        "CREATE TABLE seen (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80), pid INT, session BIGINT)"
    )
    return Workplace(mysql_database, redis_db, script)


def aborted_clients(server: MySQLServer) -> int:
    """Count the clients that went without a goodbye, once the server has noticed all that have gone."""
    deadline = time.monotonic() + _PATIENCE_S
    while server.sessions():
        assert time.monotonic() < deadline, server.sessions()
        time.sleep(0.01)
    return server.status("Aborted_clients")


@pytest.fixture
def aborted(mariadb: MySQLServer) -> Callable[[], int]:
    """Give a function that counts the clients that have gone without a goodbye since the test began."""
    before = aborted_clients(mariadb)
    return lambda: aborted_clients(mariadb) - before


def write_module(folder: Path, name: str, source: str) -> dict[str, str]:
    """Write a module, and return the variables that make it importable by a worker."""
    (folder / f"{name}.py").write_text(source)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
