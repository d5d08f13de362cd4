"""Waiting for what only a look can tell, an idle horse above all."""

from __future__ import annotations

import time
from collections.abc import Callable

from rq.job import JobStatus

from tests.rq.conftest import Workplace
from tests.support.process import Script

#: Longest wait for what is only a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


def idle(workplace: Workplace, *words: str, **environ: str) -> tuple[Script, int]:
    """Start a worker, and let it run what is queued and one job more; return it and its horse, which is idle then."""
    job = workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", *words, burst=False, **environ)
    until(lambda: job.get_status() == JobStatus.FINISHED)
    pid = job.return_value()
    assert isinstance(pid, int)
    # The worker has taken note of it when it says so in Redis.
    until(lambda: workplace.queue.connection.hget(_key(workplace), "state") == b"idle")
    return worker, pid


def _key(workplace: Workplace) -> str:
    (key,) = workplace.queue.connection.smembers("rq:workers")
    return str(key.decode())


def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)
