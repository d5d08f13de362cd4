"""`taskconn doctor`: what it finds in small applications beside those of tests/zoo, and what it never does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.servers import MariaDB
from taskconn import cli
from taskconn.doctor._application import Request
from taskconn.doctor._examine import examine
from taskconn.doctor._findings import Finding
from taskconn.errors import CommandTargetError
from tests.support.databases import MySQLDatabase, PostgreSQLDatabase, RedisDatabase
from tests.support.process import Script

Write = Callable[[Mapping[str, str]], None]

#: Longest wait for one look, in seconds.
_PATIENCE_S = 100.0

SERVING = """import threading


def serve():
    threading.Event().wait()


threading.Thread(target=serve, daemon=True).start()
"""

ENGINE = """from sqlalchemy import create_engine

engine = create_engine('mysql+pymysql://u:hunter2@db/x', pool_pre_ping=True)
"""

PLAIN = """import pymysql


def work():
    pymysql.connect(host='db')
    pymysql.connect(host='db', ssl_disabled=True)
"""

APP = """
from celery import Celery

app = Celery("shop")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give a function that writes modules by name into the current folder, which is the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name in ("TASKCONN_URL", "TASKCONN_GUARD", "TASKCONN_GUARD_ALLOW"):
        monkeypatch.delenv(name, raising=False)

    def written(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)

    return written


def _look(request: Request) -> list[Finding]:
    return examine(request, _PATIENCE_S)[0]


def _celery(**fleet: int) -> list[Finding]:
    return _look(Request("celery", "shop", **fleet))  # type: ignore[arg-type]  # numbers alone


def _only(findings: list[Finding], code: str) -> Finding:
    (found,) = [finding for finding in findings if finding.rule.code == code]
    return found


def test_connection_names_the_modules_that_imported_it(write: Write, redis_db: RedisDatabase) -> None:
    """Who has a connection that he did not write finds the import that brought it."""
    write(
        {
            "metrics": f"import redis\n\nnews = redis.Redis.from_url({redis_db.url!r}).pubsub()\nnews.subscribe('a')\n",
            "tasks": "import os\n\nimport metrics\n",
        }
    )

    found = _only(_look(Request("module", modules=["tasks"])), "TC101")

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

    findings = _look(Request("module", modules=["tasks"], asks_servers=False))

    assert _only(findings, "TC101").place == "tasks.py:3"
    held = _only(findings, "TC102")
    assert held.message.startswith("task 'tasks.work' holds the MySQL connection to ")
    assert holder in held.message
    assert held.path == "tasks.py"
    assert held.line > 5


def test_threads_are_named_by_what_they_run(write: Write) -> None:
    """A thread of the user's own is found at the function that it runs."""
    write({"tasks": SERVING})

    found = _only(_look(Request("module", modules=["tasks"])), "TC103")

    assert found.place == "tasks.py:4"


def test_connections_of_a_pool_are_told_once(write: Write, postgresql_database: PostgreSQLDatabase) -> None:
    """What is the same of several connections, and of several threads, stands in one finding."""
    pytest.importorskip("psycopg_pool")
    pool = f"pool = psycopg_pool.ConnectionPool({postgresql_database.url!r}, min_size=3, open=True)\npool.wait()"
    write({"tasks": f"import psycopg_pool\n\n{pool}\n\n\ndef work():\n    return pool.connection()\n"})

    findings = _look(Request("module", modules=["tasks"]))

    assert _only(findings, "TC101").message.endswith("held by tasks.pool (3 of them)")
    assert _only(findings, "TC102").message.endswith("tasks.pool (3 of them)")
    assert " of psycopg_pool are alive" in _only(findings, "TC103").message
    assert _only(findings, "TC104").message.endswith("psycopg_pool of 3 to 3, open")


def test_pools_are_told_with_their_settings(write: Write) -> None:
    """An engine that nobody has used is no error; its settings are good to know."""
    pytest.importorskip("sqlalchemy")
    write({"tasks": ENGINE})

    findings = _look(Request("module", modules=["tasks"]))

    found = _only(findings, "TC104")
    assert found.place == "tasks.py:3"
    assert "QueuePool of mysql+pymysql, pool_pre_ping on, pool_recycle never" in found.message
    assert [finding.rule.code for finding in findings] == ["TC104"]


def test_unreachable_alias_is_told_without_its_password(write: Write) -> None:
    """What a worker would fail at is found before, in the driver's words."""
    write({"shop": APP + "app.conf.taskconn_databases = {'default': 'mysql://u:hunter2@127.0.0.1:1/cars'}\n"})

    found = _only(_celery(), "TC105")

    assert "alias 'default' at 127.0.0.1:1" in found.message
    assert "Connection refused" in found.message
    assert "hunter2" not in found.message


def test_fleet_is_compared_with_what_the_server_admits(write: Write, mysql_database: MySQLDatabase) -> None:
    """Hosts times processes times threads times aliases, by `max_size`, against `max_connections` of the server."""
    url = mysql_database.url
    joint = "&" if "?" in url else "?"
    aliases = {"default": url, "reports": f"{url}{joint}max_size=2"}
    write({"shop": APP + f"app.conf.taskconn_databases = {aliases!r}\n"})
    ((most,),) = mysql_database.query("SELECT @@max_connections")

    fits = _celery(hosts=1, processes=2, threads=4)
    found = _only(_celery(hosts=most, processes=2, threads=4), "TC106")

    assert fits == []
    assert f"{most} hosts x 2 processes x (4 + 2) = {most * 12} connections of the {most} that MariaDB" in found.message


@pytest.mark.parametrize(
    ("options", "is_found"), [("", True), ("?deadline=true", False)], ids=["without", "with deadline"]
)
def test_limit_that_waits_in_c_is_found(write: Write, tmp_path: Path, options: str, is_found: bool) -> None:
    """A soft limit that comes late is found where the client waits in C, and not where `deadline` is on."""
    (tmp_path / "cars.db").touch()
    settings = f"app.conf.taskconn_databases = {{'default': 'sqlite:///{tmp_path}/cars.db{options}'}}\n"
    task = "\n\n@app.task(soft_time_limit=5)\ndef work():\n    ...\n"
    write({"shop": APP + settings + task})

    found = [finding.rule.code for finding in _celery()]

    assert found == (["TC107"] if is_found else [])


@pytest.mark.parametrize(
    ("arguments", "once", "words"),
    [
        ("acks_late=True", "", "`acks_late` without `reject_on_worker_lost`"),
        ("reject_on_worker_lost=True", "", "`reject_on_worker_lost` without `acks_late`"),
        ("acks_late=True, reject_on_worker_lost=True", "", "without `once`"),
        ("acks_late=True, reject_on_worker_lost=True", "(once=True)", ""),
        ("", "", ""),
    ],
    ids=["late", "rejected", "twice", "complete", "none"],
)
def test_settings_of_redelivery_are_found_by_halves(write: Write, arguments: str, once: str, words: str) -> None:
    """What is set by halves loses a task, does nothing, or does work twice."""
    task = f"\n\nfrom taskconn import with_db\n\n\n@app.task({arguments})\n@with_db{once}\ndef work(db):\n    ...\n"
    write({"shop": APP + task})

    found = _celery()

    assert [finding.rule.code for finding in found] == (["TC108"] if words else [])
    assert all(words in finding.message and finding.path == "shop.py" for finding in found)


@pytest.mark.parametrize("where", ["module", "namespace"])
def test_dropped_include_is_found(write: Write, where: str) -> None:
    """Modules that only the configuration names, and that the constructor's list has replaced, are named."""
    prefix = {"module": "", "namespace": "CELERY_"}[where]
    name = {"module": "include", "namespace": "CELERY_INCLUDE"}[where]
    app = "from celery import Celery\n\napp = Celery('shop', include=['cars'])\n"
    load = f"app.config_from_object('settings', namespace={prefix.rstrip('_') or None!r})\n"
    write({"shop": app + load, "settings": f"{name} = ['cars', 'wheels']\n", "cars": "", "wheels": ""})

    found = _only(_celery(), "TC109")

    assert found.place == "shop.py:3"
    assert found.message.endswith("not imported: wheels")


def test_context_for_every_connection_is_found(write: Write) -> None:
    """Plain PyMySQL in a task is dear; with `ssl` said it is not reported."""
    write({"tasks": PLAIN})

    assert _only(_look(Request("module", modules=["tasks"])), "TC110").place == "tasks.py:5"


def test_manuals_database_task_is_found(write: Write) -> None:
    """A property of a task class that stores what it has made is found, by whatever it is made."""
    task = """
from celery import Task


class DatabaseTask(Task):
    _db = None

    @property
    def db(self):
        if self._db is None:
            self._db = Database.connect()
        return self._db


@app.task(base=DatabaseTask)
def work():
    ...
"""
    write({"shop": APP + task})

    assert _only(_celery(), "TC005").place == "shop.py:15"


@pytest.mark.parametrize("how", ["comment", "settings"])
def test_what_is_allowed_is_left_alone(write: Write, redis_db: RedisDatabase, how: str) -> None:
    """A comment in the line, or what the settings let cross, is obeyed."""
    comment = "  # noqa: TC101 -- one subscriber" if how == "comment" else ""
    allow = f"TASKCONN_GUARD_ALLOW = ['127.0.0.1:{urlsplit(redis_db.url).port}']\n" if how == "settings" else ""
    jobs = f"import redis\n\nnews = redis.Redis.from_url({redis_db.url!r}).pubsub()\nnews.subscribe('a'){comment}\n"
    write({"jobs": jobs, "settings": allow, "plain": ""})

    found = _look(Request("rq", "settings", ["jobs"], "taskconn.rq.Worker"))

    assert [finding for finding in found if finding.rule.code == "TC101"] == []
    if how == "settings":
        assert _only(_look(Request("rq", "plain", ["jobs"], "taskconn.rq.Worker")), "TC101").place == "jobs.py:4"


@pytest.mark.parametrize("system", ["celery", "rq"])
def test_workers_that_do_not_fork_are_told_nothing_of_forks(write: Write, redis_db: RedisDatabase, system: str) -> None:
    """Threads share a process; a connection of the module's crosses nothing there."""
    jobs = f"import redis\n\nnews = redis.Redis.from_url({redis_db.url!r}).pubsub()\nnews.subscribe('a')\n"
    write({"shop": APP + "app.conf.worker_pool = 'threads'\nimport jobs\n", "jobs": jobs})
    request = {"celery": Request("celery", "shop"), "rq": Request("rq", "", ["jobs"], "rq.SimpleWorker")}[system]

    found, facts = examine(request, _PATIENCE_S)

    assert found == []
    assert "its workers do not fork" in facts[0]


def test_pool_of_the_command_line_wins(write: Write, mysql_database: MySQLDatabase) -> None:
    """Under threads there is one process, and each of its threads may have a connection."""
    settings = f"taskconn_databases={{'default': {mysql_database.url!r}}}, worker_concurrency=7"
    write({"shop": APP + f"app.conf.update({settings})\n"})

    forked, threaded = (examine(Request("celery", "shop", pool=pool), _PATIENCE_S)[1][1] for pool in ("", "threads"))

    assert "1 host x 7 processes x 1 = 7 connections of" in forked
    assert "1 host x 1 process x 7 = 7 connections of" in threaded


def test_preloaded_modules_are_imported(write: Write) -> None:
    """What RQ's workers import before they fork is imported here, too."""
    write({"settings": "TASKCONN_PRELOAD = ['jobs']\n", "jobs": "def work():\n    ...\n\n\ndef other():\n    ...\n"})

    assert "2 tasks" in examine(Request("rq", "settings", worker="taskconn.rq.WarmWorker"), _PATIENCE_S)[1][0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ValueError('mysql://u:hunter2@db/x')", "ValueError: mysql://u:\\*\\*\\*@db/x"),
        ("import sys; sys.exit('no settings')", "SystemExit: no settings"),
        (
            "import os; print('mysql://u:hunter2@db/x', flush=True); os._exit(3)",
            "exit code 3: mysql://u:\\*\\*\\*@db/x",
        ),
        ("import threading; threading.Event().wait()", "did not end within 3 s"),
    ],
    ids=["raises", "exits", "dies", "hangs"],
)
def test_application_can_not_harm_the_doctor(write: Write, source: str, words: str) -> None:
    """What an import raises, prints, ends or waits for is told in a line, without passwords."""
    write({"tasks": source})

    with pytest.raises(CommandTargetError, match=words):
        examine(Request("module", modules=["tasks"]), 3 if "wait" in source else _PATIENCE_S)


def test_prints_of_the_application_are_no_output(write: Write, script: Callable[..., Script], tmp_path: Path) -> None:
    """Programs that read the doctor's JSON read nothing else."""
    write({"tasks": "print('hello')\nimport sys\nprint('again', file=sys.stderr)\n"})
    words = ["doctor", "module", "tasks", "--format", "json"]

    assert json.loads(script([sys.executable, "-m", "taskconn", *words], cwd=tmp_path).succeed()) == []


def test_healthy_application_fits_on_a_screen(
    write: Write, capsys: pytest.CaptureFixture[str], mysql_database: MySQLDatabase, redis_db: RedisDatabase
) -> None:
    """Where nothing is wrong, a few lines say what was looked at."""
    aliases = {"default": mysql_database.url, "cache": redis_db.url}
    tasks = "".join(f"\n\n@app.task\ndef work{number}():\n    ...\n" for number in range(50))
    write({"shop": APP + f"app.conf.taskconn_databases = {aliases!r}\n" + tasks})

    assert cli.main(["doctor", "celery", "-A", "shop", "--processes", "2"]) == 0

    output = capsys.readouterr().out
    assert len(output.splitlines()) <= 6
    assert "Celery app 'shop': 50 tasks; at the fork 0 connections open, 0 threads alive" in output
    assert "default: MariaDB" in output
    assert "1 host x 2 processes x 1 = 2 connections of " in output
    assert output.endswith("Nothing was found.\n")
    assert (urlsplit(mysql_database.url).password or "\0") not in output


def test_no_task_runs_and_nothing_is_written(write: Write, private_mariadb: MariaDB, tmp_path: Path) -> None:
    """The server's log has questions alone, and no task has left its mark."""
    mark = tmp_path / "ran"
    task = f"""
from celery.signals import worker_init
from taskconn import with_db


@worker_init.connect
def prepare(**_):
    open({str(mark)!r}, "w").close()


@app.task
@with_db
def work(db):
    open({str(mark)!r}, "w").close()
"""
    write({"shop": APP + f"app.conf.taskconn_databases = {{'default': {private_mariadb.url('test')!r}}}\n" + task})
    private_mariadb.query("CREATE DATABASE IF NOT EXISTS test")
    private_mariadb.query("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON")

    findings = _celery()

    rows = private_mariadb.query("SELECT command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log")
    said = [argument.split()[0].upper() for kind, argument in rows if kind == "Query" and "general_log" not in argument]
    assert findings == []
    assert said
    assert set(said) <= {"SELECT", "SET", "SHOW", "ROLLBACK"}
    assert any("max_connections" in argument for _, argument in rows)
    assert not mark.exists()
