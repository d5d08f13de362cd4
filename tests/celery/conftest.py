"""Workers as users start them: `celery worker` in a process of its own, with a real broker and a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state

import taskconn.celery
from examples.servers import MySQLServer, RedisServer
from taskconn import _registry
from taskconn.testing import FakeDriver
from tests.support.databases import MySQLDatabase, fresh_mysql_database
from tests.support.process import ROOT, Script

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
        return self._query("n, pid, session, began, ended")  # type: ignore[return-value]

    def wait_for_visits(self, number: int, timeout: float = 100.0) -> None:
        """Wait until so many rows are there."""
        ends_at = time.monotonic() + timeout
        while (found := self._query("COUNT(*)", "WHERE n >= 0")[0][0]) < number:
            assert self.script.returncode is None, self.script.output[-5000:]
            assert time.monotonic() < ends_at, f"{found} of {number}: {self.script.output[-5000:]}"
            time.sleep(0.05)

    def stop(self) -> int:
        """
        Stop it as a service manager does, and give its exit code.

        A child whose last results the worker has not read yet waits 30 seconds for that (billiard, pool.py:
        `_ensure_messages_consumed`), now and then for ever in vain.
        """
        return self.script.stop(timeout=60)

    def _query(self, columns: str, where: str = "") -> list[tuple[Any, ...]]:
        """Read the table over a session that is in no database, so that it is not counted among the worker's."""
        return self.database.server.query(f"SELECT {columns} FROM {self.database.name}.visits {where} ORDER BY n")

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

    It returns when the worker is ready; with ``waits=False`` at once. ``queued=60`` tasks are sent before it starts.
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
    queued: int = 0,
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
    client = Celery("client", set_as_current=False, changes=shared)
    for n in range(queued):
        client.send_task("tests.celery.project.put", (n,), queue=queue)
    script = Script(command, environ=variables, log_path=log_path)
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


@pytest.fixture
def make_app() -> Iterator[Callable[..., Celery]]:
    """Give a function that makes an app, with a fake server as its alias "default"."""
    apps: list[Celery] = []
    shared = set(_state._on_app_finalizers)  # every task of every app is offered to every later one

    def make(name: str = "shop", **settings: Any) -> Celery:
        app = Celery(name, broker="memory://", set_as_current=False, **settings)
        app.driver = FakeDriver()  # type: ignore[attr-defined]  # for the test to look at
        taskconn.celery.install(app).add("default", app.driver)  # type: ignore[attr-defined]
        apps.append(app)
        return app

    yield make
    _state._on_app_finalizers.clear()
    _state._on_app_finalizers.update(shared)
    for app in apps:
        _registry._installed.pop(app, None)
        app.close()


@pytest.fixture
def app(make_app: Callable[..., Celery]) -> Celery:
    """Give an app with a fake server."""
    return make_app()


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """Give a function that runs Python source in a fresh interpreter and a folder of its own; it returns the output."""

    def run(source: str, *command: str, **files: str) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        done = subprocess.run(
            [sys.executable, *(command or ("-c", source))],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
