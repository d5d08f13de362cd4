"""The jobs of these tests, for RQ: a function for each driver and each way to end, named ``way_driver``."""

# ruff: noqa: D103 -- the names of the jobs say what they do
from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Any

import rq.timeouts
from rq import Retry, get_current_job
from rq.timeouts import JobTimeoutException

import taskconn.rq
from taskconn import with_db
from taskconn._context import current_task
from tests.drivers.rows import ROWS, Row
from tests.outcomes.bodies import say, write
from tests.outcomes.storm import Storm, leased, rage
from tests.outcomes.ways import WAYS, Way

Body = Callable[[Row, Any, str], Any]


class TimerWorker(taskconn.rq.Worker):
    """A worker whose limits are thrown from another thread, as where there is no SIGALRM."""

    death_penalty_class = rq.timeouts.TimerDeathPenalty


def told_success(job: Any, connection: Any, result: Any) -> None:
    say("on_success", job.args[0])


def told_failure(job: Any, connection: Any, kind: type[BaseException], *_: Any) -> None:
    say("on_failure", job.args[0], kind.__name__)


def told_stopped(job: Any, connection: Any) -> None:
    say("on_stopped", job.args[0])


def way(**injection: Any) -> Callable[[Body], Body]:
    """Make a job of a body, for every driver; *injection* are arguments of `with_db`."""

    def register(body: Body) -> Body:
        for row in ROWS.values():
            _make(body, row, injection)
        return body

    return register


def _make(body: Body, row: Row, injection: dict[str, Any]) -> None:
    def run(db: Any, key: str) -> Any:
        return body(row, db, key)

    run.__name__ = run.__qualname__ = name = f"{body.__name__}_{row.name}"
    globals()[name] = with_db(row.name, **injection)(run)


def _attempt() -> int:
    job = get_current_job()
    assert job is not None
    return job.number_of_retries or int(job.meta.get("attempt", 0))


def _of_both(body: Way) -> Body:
    @functools.wraps(body)
    def run(row: Row, db: Any, key: str) -> Any:
        return body(row, db, key, JobTimeoutException)

    return run


for _body, _injection in WAYS:
    way(**_injection)(_of_both(_body))


@way()
def returns_retry(row: Row, db: Any, key: str) -> Any:
    attempt = _attempt()
    write(row, db, key, attempt)
    return None if attempt else Retry(max=1)


@way()
def raises_once(row: Row, db: Any, key: str) -> None:
    job = get_current_job()
    assert job is not None
    attempt = job.meta.get("attempt", 0)
    job.meta["attempt"] = attempt + 1
    job.save_meta()
    write(row, db, key, attempt)
    if not attempt:
        raise ValueError(key)


def storm(key: str, name: str, seed: int) -> None:
    context = current_task()
    assert context is not None
    assert context.deadline is not None
    one = Storm(name, leased(name), seed, key, (JobTimeoutException,))
    rests_until = context.deadline - 0.3  # its limit is a second at least, and jobs are many
    rage(one, key, context.deadline, _has_rung, rests_until=rests_until)


def _has_rung() -> bool:
    return not signal.getitimer(signal.ITIMER_REAL)[0]
