"""What stops a worker's start, with the message that it shows; and what does not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.databases import MySQLDatabase

REFUSED = {
    "unknown option": (
        {"default": "mysql://app:s3cr3t@db/shop?max_aeg=3"},
        "",
        r"Connection 'default' has an option 'max_aeg' that nobody knows\.[\s\S]*Did you mean 'max_age'\?",
    ),
    "unknown key": (
        {"default": {"url": "mysql://app:s3cr3t@db/shop", "max_aeg": 3}},
        "",
        r"Connection 'default' has an option 'max_aeg' that nobody knows\.[\s\S]*Did you mean 'max_age'\?",
    ),
    "unknown scheme": (
        {"default": "mysqll://app:s3cr3t@db/shop"},
        "",
        r"starts with 'mysqll', which no driver answers to\.[\s\S]*mysql",
    ),
    "no mapping": (
        "mysql://app:s3cr3t@db/shop",
        "",
        r"settings are of type str where a mapping of aliases was expected\.\nWrite \{'default': ",
    ),
    "missing driver": (
        {"default": "oracle://app:s3cr3t@db/shop"},
        "",
        "which no driver answers to",
    ),
    "async task": (
        None,
        "async-task",
        (
            r"`with_db` can't be used on the task tests\.celery\.project\.never_awaited: it is `async def`, and Celery "
            r"calls it without awaiting it, so it would never run\.\nWrite it as `def`, with `asyncio\.run\(\.\.\.\)`"
        ),
    ),
}


@pytest.mark.parametrize(("databases", "plan", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_worker_refuses_to_start(
    start_worker: Any, visits_database: MySQLDatabase, databases: Any, plan: str, message: str
) -> None:
    """A worker whose every task would fail does not start: it says what to do, without a traceback or a password."""
    worker = start_worker(visits_database, databases=databases, plan=plan, waits=False)

    code = worker.script.wait()

    assert code == 1
    assert re.search(r"^Error: [\s\S]*" + message, worker.script.output, re.MULTILINE)
    assert "Traceback" not in worker.script.output
    assert "s3cr3t" not in worker.script.output


def test_missing_package_is_refused(start_worker: Any, visits_database: MySQLDatabase, tmp_path: Any) -> None:
    """A driver whose package is not installed stops the start, with the line to install it."""
    (tmp_path / "pymysql.py").write_text("raise ImportError('No module named pymysql')")

    worker = start_worker(visits_database, waits=False, environ={"PYTHONPATH": f"{tmp_path}:."})

    assert worker.script.wait() == 1
    assert "Connection 'default' needs the package 'PyMySQL' for mysql:// URLs" in worker.script.output
    assert "pip install 'taskconn[mysql]'" in worker.script.output
    assert "Traceback" not in worker.script.output


def test_settings_that_can_not_be_sent_stop_a_spawning_worker(
    start_worker: Any, visits_database: MySQLDatabase
) -> None:
    """A spawned child gets its settings by pickle: a lambda among them is refused at the start, and named."""
    options = ("--pool-start-method", "spawn")
    worker = start_worker(visits_database, *options, plan="lambda-password", waits=False)

    assert worker.script.wait() == 1
    assert "they can't be sent to a spawned process" in worker.script.output
    assert "Write a callable as 'module:attribute'" in worker.script.output
    assert "Traceback" not in worker.script.output


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_worker_starts_while_its_database_is_down(start_worker: Any, visits_database: MySQLDatabase, pool: str) -> None:
    """A database that is down fails the tasks that need it, each with a named error, and not the worker."""
    databases = {"default": {"url": "mysql://app:s3cr3t@127.0.0.1:9/shop", "warm": True}}
    worker = start_worker(visits_database, "-c", "1", "-P", pool, databases=databases)

    assert worker.run("put", 1) == "raised"

    worker.script.wait_for("connection 'default': opening it early in process")
    worker.script.wait_for("ConnectionFailedError")
    assert "s3cr3t" not in worker.script.output
    assert worker.stop() == 0


def test_warm_up_that_hangs_does_not_cost_the_child(start_worker: Any, visits_database: MySQLDatabase) -> None:
    """Warm-up ends after half of `worker_proc_alive_timeout`: a replacement that takes longer is killed for ever."""
    url = re.sub(r":[^:@/]+@", "@", visits_database.url)
    databases = {
        "default": visits_database.url,
        "slow": {"url": url, "password_from": "tests.celery.project:password", "warm": True},
    }
    settings = {"worker_proc_alive_timeout": 2.0}
    worker = start_worker(
        visits_database,
        *("-c", "1", "--max-tasks-per-child", "1"),
        databases=databases,
        settings=settings,
        plan="slow-password",
    )

    for n in range(3):
        worker.send("put", n)
    worker.wait_for_visits(3)

    worker.script.wait_for(r"opening early takes longer than 1\.0 s and goes on")
    assert len({visit[1] for visit in worker.visits()}) == 3
    assert "UP message" not in worker.script.output


def test_unknown_alias_of_a_task_is_warned_about(start_worker: Any, visits_database: MySQLDatabase) -> None:
    """A task that leases an alias without settings is named at the start: this worker may never run it."""
    worker = start_worker(visits_database, "-c", "1", "-P", "solo", plan="unknown-alias")

    assert "task tests.celery.project.misspelt leases 'chache', which is not configured" in worker.script.output
    assert worker.run("misspelt") == "raised"
    worker.script.wait_for("There is no connection 'chache'; configured are: default\\.")
