"""What `taskconn doctor` never does: it is not harmed, prints nothing else, runs and writes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.servers import MariaDB
from taskconn import cli
from taskconn.doctor._application import Request
from taskconn.doctor._examine import examine
from taskconn.errors import CommandTargetError
from tests.doctor.looks import APP, PATIENCE_S, Write, look_at_celery
from tests.support.databases import MySQLDatabase, RedisDatabase
from tests.support.process import Script


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
        examine(Request("module", modules=["tasks"]), 3 if "wait" in source else PATIENCE_S)


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

    findings = look_at_celery()

    rows = private_mariadb.query("SELECT command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log")
    said = [argument.split()[0].upper() for kind, argument in rows if kind == "Query" and "general_log" not in argument]
    assert findings == []
    assert said
    assert set(said) <= {"SELECT", "SET", "SHOW", "ROLLBACK"}
    assert any("max_connections" in argument for _, argument in rows)
    assert not mark.exists()
