from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.databases import MySQLDatabase
from tests.support.process import ROOT, Script

FOLDER = ROOT / "examples" / "rq_app"

StartScript = Callable[..., Script]


def test_orders_are_taken_as_a_whole_or_not_at_all(
    script: StartScript, environ: dict[str, str], mysql_database: MySQLDatabase
) -> None:
    """Of three orders for two cars two are in the database, each with its receipt, and one has failed."""
    script([sys.executable, "enqueue.py", "Beetle", "Ada", "Grace", "Edsger"], cwd=FOLDER, environ=environ).succeed()

    command = [
        str(Path(sys.executable).with_name("rq")),
        "worker",
        "--worker-class",
        "taskconn.rq.Worker",
        "-c",
        "settings",
        "--burst",
    ]
    output = script(command, cwd=FOLDER, environ=environ).succeed()

    assert output.count("has ordered a Beetle") == 2, output
    assert output.count("LookupError: There is no Beetle in stock.") >= 1
    assert mysql_database.query("SELECT number FROM stock WHERE car = 'Beetle'") == [(0,)]
    assert len(mysql_database.query("SELECT id FROM orders JOIN receipts ON id = order_id")) == 2


def test_own_tests_of_the_application_pass(script: StartScript, environ: dict[str, str]) -> None:
    """The example's tests of its jobs run as its README says, with a database."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_jobs.py"]

    output = script(command, cwd=FOLDER, environ=environ).succeed()

    assert "3 passed" in output
