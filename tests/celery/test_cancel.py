"""What Celery's limits and revocations cut off is ended at the server, though it would commit by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.databases import MySQLDatabase

_RUNS = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'INSERT%%'"


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("way", ["soft limit", "revoked"])
def test_statement_of_a_task_that_is_cut_off_is_ended(
    way: str, start_worker: Any, visits_database: MySQLDatabase
) -> None:
    """An autocommitting INSERT of a minute is ended with its task, and its row never comes."""
    settings = {"default": {"url": visits_database.url, "transaction": "none"}}
    worker = start_worker(visits_database, "-c", "1", databases=settings)
    sent = worker.send("put_slowly", 7, **({"soft_time_limit": 2} if way == "soft limit" else {}))
    _wait(lambda: bool(visits_database.query(_RUNS)[0][0]))

    if way == "revoked":
        worker.client.control.revoke(sent, terminate=True)
    _wait(lambda: not visits_database.query(_RUNS)[0][0])

    assert worker.run("ask", "SELECT COUNT(*) FROM visits") == "succeeded"
    assert float(worker.said("answer")) == 0
