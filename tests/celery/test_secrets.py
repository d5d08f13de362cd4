"""Nobody sees a password in what Celery shows of its settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.databases import MySQLDatabase

URL = "mysql://app:s3cr3t-in-an-url@db.example/shop"
CONFIG = f"""
taskconn_databases = {{
    "default": "{URL}",
    "parts": {{"url": "mysql://db/shop", "user": "app", "password": "s3cr3t-in-a-mapping"}},
}}
imports = ["taskconn.celery"]
"""

#: Ways to give settings: source of the project, and of its module `config`.
PROJECTS = {
    "module": ("app = Celery('p', config_source='config')", CONFIG),
    "namespace": (
        "app = Celery('p')\napp.config_from_object('config', namespace='CELERY')",
        CONFIG.replace("taskconn_databases", "CELERY_TASKCONN_DATABASES").replace("imports", "CELERY_IMPORTS"),
    ),
    "dict": (
        (
            "import config\napp = Celery('p')\n"
            "app.config_from_object({k: v for k, v in vars(config).items() if k[0] != '_'})"
        ),
        CONFIG,
    ),
    "update": ("import config\napp = Celery('p')\napp.conf.update(vars(config))", CONFIG),
    "update after import": (
        "app = Celery('p', imports=['taskconn.celery', 'config'])",
        CONFIG + "from celery import current_app\ncurrent_app.conf.update(taskconn_databases=taskconn_databases)",
    ),
    "shared with RQ": (
        "app = Celery('p', config_source='config')",
        CONFIG.replace("taskconn_databases", "TASKCONN_DATABASES"),
    ),
    "malformed": (
        f"app = Celery('p', imports=['taskconn.celery'], taskconn_databases='{URL}')",
        "",
    ),
    "install": (
        "import config, taskconn.celery\napp = Celery('p')\ntaskconn.celery.install(app, config.taskconn_databases)",
        CONFIG,
    ),
}


def report(python: Callable[..., str], project: str, config: str) -> str:
    """Run `celery report`."""
    return python(
        "", "-m", "celery", "-A", "project", "report", project=f"from celery import Celery\n{project}", config=config
    )


@pytest.mark.parametrize(("project", "config"), PROJECTS.values(), ids=PROJECTS.keys())
def test_report_shows_no_password(python: Callable[..., str], project: str, config: str) -> None:
    """`celery report` shows no password, however the settings were given."""
    output = report(python, project, config)

    assert "databases: '********'" in output.lower()
    assert "s3cr3t" not in output


def test_report_would_show_passwords(python: Callable[..., str]) -> None:
    """Celery itself shows what stands in a mapping: so the test above bites."""
    output = report(python, PROJECTS["module"][0], CONFIG.replace("taskconn.celery", "json"))

    assert "s3cr3t-in-an-url" in output


@pytest.mark.parametrize("pool", ["fork", "spawn"])
def test_inspect_and_debug_log_show_no_password(start_worker: Any, visits_database: MySQLDatabase, pool: str) -> None:
    """`inspect conf`, `inspect stats` and a worker's debug log show none either, and the settings still work."""
    password = visits_database.server.password
    worker = start_worker(visits_database, "-l", "debug", "-c", "1", "--pool-start-method", pool)
    worker.run("put", 1)

    inspect = worker.client.control.inspect(timeout=3.0, limit=1)
    shown = json.dumps([inspect.conf(with_defaults=True), inspect.stats(), inspect.report()])

    assert "taskconn_databases" in shown
    assert worker.stats()["default"]["leases"] == 1
    assert f":{password}@" not in shown
    assert f":{password}@" not in worker.script.output
    assert worker.stop() == 0
