"""`celery -A app control taskconn_recycle` has the connections of all children of a running worker replaced."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.celery.conftest import Start
from tests.support.databases import MySQLDatabase


@pytest.mark.parametrize("options", [("-c", "2"), ("-P", "threads", "-c", "2")], ids=["prefork", "threads"])
def test_connections_of_a_running_worker_are_replaced(
    options: tuple[str, ...], start_worker: Start, visits_database: MySQLDatabase
) -> None:
    """After the command each process goes on over new sessions, once what was just used has come back."""
    worker = start_worker(visits_database, *options)
    for n in range(8):
        worker.send("put", n)
    worker.wait_for_visits(8)
    before = {session for _, _, session, *_ in worker.visits()}

    answers = worker.client.control.broadcast("taskconn_recycle", reply=True, limit=1, timeout=30)
    for n in range(8, 40):
        worker.send("put", n)
    worker.wait_for_visits(40)

    (answer,) = answers[0].values()
    assert answer == {"ok": "connections are replaced at their next safe moment"}
    by_process = defaultdict(list)
    for n, pid, session, _, _ in sorted(worker.visits(), key=lambda visit: visit[3]):
        if n >= 8:
            by_process[pid].append(session in before)
    for are_old in by_process.values():
        assert sum(are_old) <= 2, "one for each thread that was just used"
        assert not are_old[-1]
    assert worker.stats()["default"]["recycles"] >= 1
