"""What `taskconn doctor` finds in settings: of aliases, of the fleet, of tasks and their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskconn.doctor._application import Request
from taskconn.doctor._examine import examine
from tests.doctor.looks import APP, PATIENCE_S, Write, look, look_at_celery, only
from tests.support.databases import MySQLDatabase

PLAIN = """import pymysql


def work():
    pymysql.connect(host='db')
    pymysql.connect(host='db', ssl_disabled=True)
"""


def test_unreachable_alias_is_told_without_its_password(write: Write) -> None:
    """What a worker would fail at is found before, in the driver's words."""
    write({"shop": APP + "app.conf.taskconn_databases = {'default': 'mysql://u:hunter2@127.0.0.1:1/cars'}\n"})

    found = only(look_at_celery(), "TC105")

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

    fits = look_at_celery(hosts=1, processes=2, threads=4)
    found = only(look_at_celery(hosts=most, processes=2, threads=4), "TC106")

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

    found = [finding.rule.code for finding in look_at_celery()]

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

    found = look_at_celery()

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

    found = only(look_at_celery(), "TC109")

    assert found.place == "shop.py:3"
    assert found.message.endswith("not imported: wheels")


def test_context_for_every_connection_is_found(write: Write) -> None:
    """Plain PyMySQL in a task is dear; with `ssl` said it is not reported."""
    write({"tasks": PLAIN})

    assert only(look(Request("module", modules=["tasks"])), "TC110").place == "tasks.py:5"


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

    assert only(look_at_celery(), "TC005").place == "shop.py:15"


def test_pool_of_the_command_line_wins(write: Write, mysql_database: MySQLDatabase) -> None:
    """Under threads there is one process, and each of its threads may have a connection."""
    settings = f"taskconn_databases={{'default': {mysql_database.url!r}}}, worker_concurrency=7"
    write({"shop": APP + f"app.conf.update({settings})\n"})

    forked, threaded = (examine(Request("celery", "shop", pool=pool), PATIENCE_S)[1][1] for pool in ("", "threads"))

    assert "1 host x 7 processes x 1 = 7 connections of" in forked
    assert "1 host x 1 process x 7 = 7 connections of" in threaded
