"""What `taskconn doctor` finds open at the fork: connections and who holds them, pools, threads."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from taskconn.doctor._application import Request
from taskconn.doctor._examine import examine
from tests.doctor.looks import APP, PATIENCE_S, Write, look, only
from tests.support.databases import MySQLDatabase, PostgreSQLDatabase, RedisDatabase

SERVING = """import threading


def serve():
    threading.Event().wait()


threading.Thread(target=serve, daemon=True).start()
"""

ENGINE = """from sqlalchemy import create_engine

engine = create_engine('mysql+pymysql://u:hunter2@db/x', pool_pre_ping=True)
"""


def test_connection_names_the_modules_that_imported_it(write: Write, redis_db: RedisDatabase) -> None:
    """Who has a connection that he did not write finds the import that brought it."""
    write(
        {
            "metrics": f"import redis\n\nnews = redis.Redis.from_url({redis_db.url!r}).pubsub()\nnews.subscribe('a')\n",
            "tasks": "import os\n\nimport metrics\n",
        }
    )

    found = only(look(Request("module", modules=["tasks"])), "TC101")

    assert found.place == "metrics.py:4"
    assert found.message.endswith("is open at the fork, imported by tasks.py:3")
    assert found.message.startswith("Redis connection to 127.0.0.1:")


@pytest.mark.parametrize(
    ("body", "holder"),
    [
        ("def work():\n    return conn.ping()", "tasks.conn"),
        ("def work(db=conn):\n    return db.ping()", "a default argument of tasks.work"),
        ("work = (lambda db: lambda: db.ping())(conn)", "a closure of tasks.<lambda>"),
        ("class Cars:\n    db = conn\n\ndef work():\n    return Cars.db.ping()", "tasks.Cars.db"),
    ],
    ids=["global", "default", "closure", "class"],
)
def test_task_that_holds_a_connection_is_named(
    write: Write, mysql_database: MySQLDatabase, body: str, holder: str
) -> None:
    """A task is told by which variable it reaches what crosses the fork."""
    parts = urlsplit(mysql_database.url)
    account = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    write({"tasks": f"import pymysql\n\nconn = pymysql.connect(**{account!r})\n\n\n{body}\n"})

    findings = look(Request("module", modules=["tasks"], asks_servers=False))

    assert only(findings, "TC101").place == "tasks.py:3"
    held = only(findings, "TC102")
    assert held.message.startswith("task 'tasks.work' holds the MySQL connection to ")
    assert holder in held.message
    assert held.path == "tasks.py"
    assert held.line > 5


def test_threads_are_named_by_what_they_run(write: Write) -> None:
    """A thread of the user's own is found at the function that it runs."""
    write({"tasks": SERVING})

    found = only(look(Request("module", modules=["tasks"])), "TC103")

    assert found.place == "tasks.py:4"


def test_connections_of_a_pool_are_told_once(write: Write, postgresql_database: PostgreSQLDatabase) -> None:
    """What is the same of several connections, and of several threads, stands in one finding."""
    pytest.importorskip("psycopg_pool")
    pool = f"pool = psycopg_pool.ConnectionPool({postgresql_database.url!r}, min_size=3, open=True)\npool.wait()"
    write({"tasks": f"import psycopg_pool\n\n{pool}\n\n\ndef work():\n    return pool.connection()\n"})

    findings = look(Request("module", modules=["tasks"]))

    assert only(findings, "TC101").message.endswith("held by tasks.pool (3 of them)")
    assert only(findings, "TC102").message.endswith("tasks.pool (3 of them)")
    assert " of psycopg_pool are alive" in only(findings, "TC103").message
    assert only(findings, "TC104").message.endswith("psycopg_pool of 3 to 3, open")


def test_pools_are_told_with_their_settings(write: Write) -> None:
    """An engine that nobody has used is no error; its settings are good to know."""
    pytest.importorskip("sqlalchemy")
    write({"tasks": ENGINE})

    findings = look(Request("module", modules=["tasks"]))

    found = only(findings, "TC104")
    assert found.place == "tasks.py:3"
    assert "QueuePool of mysql+pymysql, pool_pre_ping on, pool_recycle never" in found.message
    assert [finding.rule.code for finding in findings] == ["TC104"]


@pytest.mark.parametrize("how", ["comment", "settings"])
def test_what_is_allowed_is_left_alone(write: Write, redis_db: RedisDatabase, how: str) -> None:
    """A comment in the line, or what the settings let cross, is obeyed."""
    comment = "  # noqa: TC101 -- one subscriber" if how == "comment" else ""
    allow = f"TASKCONN_GUARD_ALLOW = ['127.0.0.1:{urlsplit(redis_db.url).port}']\n" if how == "settings" else ""
    jobs = f"import redis\n\nnews = redis.Redis.from_url({redis_db.url!r}).pubsub()\nnews.subscribe('a'){comment}\n"
    write({"jobs": jobs, "settings": allow, "plain": ""})

    found = look(Request("rq", "settings", ["jobs"], "taskconn.rq.Worker"))

    assert [finding for finding in found if finding.rule.code == "TC101"] == []
    if how == "settings":
        assert only(look(Request("rq", "plain", ["jobs"], "taskconn.rq.Worker")), "TC101").place == "jobs.py:4"


@pytest.mark.parametrize("system", ["celery", "rq"])
def test_workers_that_do_not_fork_are_told_nothing_of_forks(write: Write, redis_db: RedisDatabase, system: str) -> None:
    """Threads share a process; a connection of the module's crosses nothing there."""
    jobs = f"import redis\n\nnews = redis.Redis.from_url({redis_db.url!r}).pubsub()\nnews.subscribe('a')\n"
    write({"shop": APP + "app.conf.worker_pool = 'threads'\nimport jobs\n", "jobs": jobs})
    request = {"celery": Request("celery", "shop"), "rq": Request("rq", "", ["jobs"], "rq.SimpleWorker")}[system]

    found, facts = examine(request, PATIENCE_S)

    assert found == []
    assert "its workers do not fork" in facts[0]


def test_preloaded_modules_are_imported(write: Write) -> None:
    """What RQ's workers import before they fork is imported here, too."""
    write({"settings": "TASKCONN_PRELOAD = ['jobs']\n", "jobs": "def work():\n    ...\n\n\ndef other():\n    ...\n"})

    assert "2 tasks" in examine(Request("rq", "settings", worker="taskconn.rq.WarmWorker"), PATIENCE_S)[1][0]
