"""SIGUSR2 has the connections of a running RQ worker replaced."""

from __future__ import annotations

import signal
import time

import pytest

from tests.rq.conftest import Workplace

#: Longest wait for what is only a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


@pytest.mark.parametrize("name", ["WarmWorker", "SimpleWorker"])
def test_connections_of_a_running_worker_are_replaced(workplace: Workplace, name: str) -> None:
    """The process stays; one more job may use the old session, and every later one uses a new one."""
    worker = workplace.worker(name, burst=False)

    def run(*names: str) -> None:
        jobs = [workplace.enqueue("insert", each) for each in names]
        ends_at = time.monotonic() + _PATIENCE_S
        while not all(workplace.refreshed(job).is_finished for job in jobs):
            assert worker.returncode is None, worker.output
            assert time.monotonic() < ends_at, worker.output
            time.sleep(0.01)

    run("before")
    worker.send(signal.SIGUSR2)
    run("between", "after", "later")
    worker.stop()

    before, between, after, later = workplace.seen()
    assert {row[1] for row in (between, after, later)} == {before[1]}
    assert between[2] in {before[2], after[2]}
    assert before[2] != after[2] == later[2]
