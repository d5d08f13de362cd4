from __future__ import annotations

import sys
from collections.abc import Callable

from tests.support.databases import MySQLDatabase
from tests.support.process import ROOT, Script

FOLDER = ROOT / "examples" / "celery_app"

StartScript = Callable[..., Script]


def test_orders_are_taken_as_a_whole_or_not_at_all(
    script: StartScript, environ: dict[str, str], mysql_database: MySQLDatabase
) -> None:
    """Of three orders for two cars two are in the database, each with its receipt, and one has failed."""
    worker = script(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO"],
        cwd=FOLDER,
        environ=environ,
    )
    script(
        [sys.executable, "send_orders.py", "Beetle", "Ada", "Grace", "Edsger"], cwd=FOLDER, environ=environ
    ).succeed()

    worker.wait_for(r"send_receipt\[.*succeeded", count=2)
    worker.wait_for(r"order\[.*LookupError")

    assert mysql_database.query("SELECT number FROM stock WHERE car = 'Beetle'") == [(0,)]
    assert len(mysql_database.query("SELECT id FROM orders JOIN receipts ON id = order_id")) == 2
    assert worker.stop(timeout=60) == 0  # Celery itself may give a child half a minute


def test_own_tests_of_the_application_pass(script: StartScript, environ: dict[str, str]) -> None:
    """The example's tests of its tasks run as its README says, with a database."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_tasks.py"]

    output = script(command, cwd=FOLDER, environ=environ).succeed()

    assert "3 passed" in output
