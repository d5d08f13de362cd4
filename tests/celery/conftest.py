"""Workers as users start them: `celery worker` in a process of its own, with a real broker and a real database."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from examples.servers import MySQLServer, RedisServer
from tests.support.databases import MySQLDatabase, fresh_mysql_database
from tests.support.process import Script

#: Where its tasks store what they saw: who ran, on which session, from when to when.
VISITS = """
CREATE TABLE visits (id BIGINT AUTO_INCREMENT PRIMARY KEY, n INT, pid INT, session BIGINT, began DOUBLE, ended DOUBLE)
"""

#: Rows that tasks of `project` have written: `n`, `pid`, `session`, `began`, `ended`.
Visit = tuple[int, int, int, float, float]


class Worker:
    """
    Run a worker of `tests.celery.project`, and send tasks to it.

    Attributes:
        script: Its process and its output.
        database: Database that the alias "default" is.
        client: App that sends; it has the broker of the worker, and none of its tasks.
    """

    def __init__(self, script: Script, database: MySQLDatabase, client: Celery, queue: str) -> None:
        self.script = script
        self.database = database
        self.client = client
        self.queue = queue

    def send(self, name: str, *arguments: object, **options: Any) -> str:
        """Send a task, by the name of its function; gives its id."""
        result = self.client.send_task(f"tests.celery.project.{name}", arguments, queue=self.queue, **options)
        return str(result.id)

    def run(self, name: str, *arguments: object, **options: Any) -> str:
        """Send a task and wait for its end; gives how the worker's log calls that: "succeeded", "raised", ..."""
        return self.outcome(self.send(name, *arguments, **options))

    def outcome(self, task_id: str, timeout: float = 30.0) -> str:
        """Wait for a task's end."""
        found = self.script.wait_for(rf"\[{task_id}\] (succeeded|raised|retry)", timeout)
        return found[1]

    def said(self, word: str, *, count: int = 1, timeout: float = 30.0) -> str:
        """Wait for what a task says for the *count*-th time; gives the rest of its line."""
        return self.script.wait_for(rf"SAY {word}\b ?(.*)$", timeout, count=count)[1]

    def visits(self) -> list[Visit]:
        """List the rows that its tasks have committed."""
        return self.database.query("SELECT n, pid, session, began, ended FROM visits ORDER BY n")  # type: ignore[return-value]

    def wait_for_visits(self, number: int, timeout: float = 60.0) -> None:
        """Wait until so many rows are there."""
        ends_at = time.monotonic() + timeout
        while (found := self.database.query("SELECT COUNT(*) FROM visits WHERE n >= 0")[0][0]) < number:
            assert self.script.returncode is None, self.script.output[-5000:]
            assert time.monotonic() < ends_at, f"{found} of {number}: {self.script.output[-5000:]}"
            time.sleep(0.05)

    def stats(self) -> dict[str, dict[str, int]]:
        """Ask `celery inspect stats` for what taskconn says there."""
        for _ in range(5):
            answers = self.client.control.inspect(timeout=2.0, limit=1).stats()
            if answers:
                return next(iter(answers.values()))["taskconn"]
        raise AssertionError("no worker answers to `inspect stats`")


@pytest.fixture(scope="module")
def database(mariadb: MySQLServer) -> Iterator[MySQLDatabase]:
    """Give a database with the table `visits`, for the tests of one file."""
    with fresh_mysql_database(mariadb) as fresh:
        fresh.query(VISITS)
        yield fresh


@pytest.fixture
def visits_database(mysql_database: MySQLDatabase) -> MySQLDatabase:
    """Give a database with an empty table `visits`."""
    mysql_database.query(VISITS)
    return mysql_database


Start = Callable[..., Worker]


@contextmanager
def starting(redis_server: RedisServer, folder: Path) -> Iterator[Start]:
    """Give a function that starts workers; they are killed at the end."""
    workers: list[Worker] = []

    def start(database: MySQLDatabase, *options: str, **arguments: Any) -> Worker:
        number = len(workers)
        workers.append(_worker(redis_server, folder / f"worker-{number}.log", database, options, **arguments))
        return workers[-1]

    yield start
    for worker in workers:
        worker.script.kill()
        worker.client.pool.force_close_all()
        worker.client.close()


@pytest.fixture
def start_worker(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """
    Give a function that starts a worker: ``start_worker(database, "-P", "solo", plan="...", settings={})``.

    It returns when the worker is ready; with ``waits=False`` at once.
    """
    with starting(redis_server, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_worker(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Give the same, for a worker that serves all tests of a file."""
    with starting(redis_server, tmp_path_factory.mktemp("workers")) as start:
        yield start


def _worker(
    redis_server: RedisServer,
    log_path: Path,
    database: MySQLDatabase,
    options: tuple[str, ...],
    *,
    databases: Any = None,
    settings: dict[str, Any] | None = None,
    plan: str = "",
    waits: bool = True,
    environ: dict[str, str] | None = None,
) -> Worker:
    queue = f"queue-{uuid.uuid4().hex[:8]}"
    shared = {
        "broker_url": redis_server.url(0),
        "broker_transport_options": {"global_keyprefix": f"{queue}:"},
        "task_ignore_result": True,
        "task_default_queue": queue,
        "broker_connection_retry_on_startup": True,
        **(settings or {}),
    }
    own = {
        "imports": ["taskconn.celery"],
        "taskconn_databases": {"default": database.url} if databases is None else databases,
        "worker_prefetch_multiplier": 25,
        **shared,
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.celery.project", "worker", "-n", f"{queue}@local"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "info", *options]
    variables = {"PROJECT_SETTINGS": json.dumps(own), "PROJECT_PLAN": plan, **(environ or {})}
    script = Script(command, environ=variables, log_path=log_path)
    client = Celery("client", set_as_current=False, changes=shared)
    worker = Worker(script, database, client, queue)
    if waits:
        try:
            script.wait_for(r"\bready\.", 60)
        except BaseException:
            script.kill()
            raise
    return worker


@pytest.fixture(autouse=True)
def _clean_celery_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting of the shell reach the workers."""
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        monkeypatch.delenv(name)
