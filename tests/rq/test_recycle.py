"""SIGUSR2 has the connections of a running RQ worker replaced."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from tests.rq.conftest import Workplace
from tests.support.process import Script

#: Longest wait for what is only a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


@pytest.mark.parametrize("name", ["WarmWorker", "SimpleWorker"])
def test_connections_of_a_running_worker_are_replaced(workplace: Workplace, name: str) -> None:
    """The process stays; one more job may use the old session, and every later one uses a new one."""
    worker = workplace.worker(name, burst=False)

    _run(workplace, worker, "before")
    worker.send(signal.SIGUSR2)
    _run(workplace, worker, "between", "after", "later")
    worker.stop()

    before, between, after, later = workplace.seen()
    assert {row[1] for row in (between, after, later)} == {before[1]}
    assert between[2] in {before[2], after[2]}
    assert before[2] != after[2] == later[2]


#: A pool of taskconn's own, of two workers.
POOL = """
import os
from redis import Redis
from taskconn.rq import SimpleWorker, WorkerPool
from tests.rq import settings

WorkerPool(["default"], Redis.from_url(os.environ["TEST_REDIS_URL"]), 2, SimpleWorker).start()
"""


@pytest.mark.parametrize("who", ["pool", "worker"])
def test_connections_of_all_workers_of_a_pool_are_replaced(workplace: Workplace, who: str) -> None:
    """The signal reaches all, sent to taskconn's pool, or to one of the workers of RQ's."""
    if who == "pool":
        pool = workplace.start(POOL, environ=workplace.environ | {"TASKCONN_CONFIG": "tests.rq.settings"})
    else:
        pool = workplace.worker("SimpleWorker", "-n", "2", command="worker-pool", burst=False)

    before = _last_sessions(workplace, pool)
    os.kill(pool.pid if who == "pool" else next(iter(before)), signal.SIGUSR2)
    after = _last_sessions(workplace, pool)
    pool.stop()

    assert set(before) == set(after), "the workers stay"
    assert not set(before.values()) & set(after.values())


def _last_sessions(workplace: Workplace, pool: Script) -> dict[int, int]:
    """Run jobs until each of two workers has run three, and give the session of each one's last."""
    known, ends_at = len(workplace.seen()), time.monotonic() + _PATIENCE_S
    while True:
        assert time.monotonic() < ends_at, workplace.seen()
        _run(workplace, pool, "a job")
        rows = workplace.seen()[known:]
        jobs = Counter(pid for _, pid, _ in rows)
        if len(jobs) == 2 and min(jobs.values()) >= 3:
            return {pid: session for _, pid, session in rows}


def _run(workplace: Workplace, worker: Script, *names: str) -> None:
    jobs = [workplace.enqueue("insert", each) for each in names]
    ends_at = time.monotonic() + _PATIENCE_S
    while not all(workplace.refreshed(job).is_finished for job in jobs):
        assert worker.returncode is None, worker.output
        assert time.monotonic() < ends_at, worker.output
        time.sleep(0.01)
