"""Connections that clients in C open in other threads, while the main one waits for something else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.servers import PostgreSQLServer
from tests.guard.conftest import Report, arguments_of, reports
from tests.support.process import Script
from tests.support.wire import Wire

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lists descriptors")

#: Its connection is under way while the main thread reads, which ends before it does.
_OPENS_IN_A_THREAD = """
import json, os, threading, psycopg2

def connect():
    global conn
    conn = psycopg2.connect(**json.loads(os.environ["WHERE"]))

thread = threading.Thread(target=connect)
"""

_FORKS = """
import os, sys
sys.path.insert(0, os.path.abspath("site-packages/{package}"))
import shop, waiting
waiting.wait(shop.thread.start)
print("waited")
shop.thread.join()
if os.fork() == 0:
    os._exit(0)
os.wait()
"""

_WAITS = """
def wait(start):
    start()
    with open("news") as news:
        news.read()
"""


@pytest.mark.parametrize("package", ["acme", "gunicorn"], ids=["somebody", "infrastructure"])
def test_connection_of_a_thread_is_not_taken_for_that_of_one_that_waits(
    run: Callable[..., Script], tmp_path: Path, postgresql: PostgreSQLServer, package: str
) -> None:
    """Whoever was only the first to see it is not told as its place, and does not vouch for it."""
    pytest.importorskip("psycopg2")
    os.mkfifo(tmp_path / "news")
    with Wire(postgresql.port) as wire:
        where = {**arguments_of(postgresql.url("postgres")), "port": wire.port, "sslmode": "disable"}
        wire.hold_answer_to(b"user")
        files = {"shop.py": _OPENS_IN_A_THREAD, f"site-packages/{package}/waiting.py": _WAITS}
        program = run({**files, "main.py": _FORKS.format(package=package)}, WHERE=json.dumps(where))
        assert wire.has_come.wait(30)

        (tmp_path / "news").write_text("come")
        program.wait_for("^waited$")
        wire.release_answers()
        output = program.succeed()

    (report,) = reports(output)
    assert report == Report("PostgreSQL", f"127.0.0.1:{wire.port}", report.where)
    assert "held by shop.conn" in report.where, output
