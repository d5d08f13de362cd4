"""The Celery project of these tests: a task for each driver and each way to end, named ``way.driver``."""

# ruff: noqa: D103 -- the names of the tasks say what they do
from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.signals import task_postrun, task_revoked

from taskconn import with_db
from taskconn._context import current_task
from tests.drivers.rows import ROWS, Row
from tests.outcomes.bodies import say, write
from tests.outcomes.storm import Storm, leased, rage
from tests.outcomes.ways import WAYS, Way

app = Celery("outcomes")
app.conf.update(json.loads(os.environ["OUTCOMES_SETTINGS"]))

Body = Callable[[Any, Row, Any, str], Any]


class Told(Task):  # type: ignore[type-arg]  # generic in its stubs alone
    """Tell the test which of its callbacks Celery runs."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        say("on_success", args[0])

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        say("on_failure", args[0], type(exc).__name__)

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        say("on_retry", args[0])


@task_postrun.connect(weak=False)
def _has_run(args: Any, state: Any, **_: Any) -> None:
    say("ran", args[0], state)


@task_revoked.connect(weak=False)
def _was_revoked(request: Any, **_: Any) -> None:
    say("revoked", request.args[0])


def way(*, injection: dict[str, Any] | None = None, **options: Any) -> Callable[[Body], Body]:
    """Make a task of a body, for every driver; *injection* are arguments of `with_db`, *options* of the task."""

    def register(body: Body) -> Body:
        for row in ROWS.values():
            _make(body, row, injection or {}, options)
        return body

    return register


def _make(body: Body, row: Row, injection: dict[str, Any], options: dict[str, Any]) -> None:
    def run(self: Any, db: Any, key: str) -> Any:
        return body(self, row, db, key)

    name = f"{body.__name__}.{row.name}"
    app.task(bind=True, base=Told, name=name, **options)(with_db(row.name, **injection)(run))


def _of_both(body: Way) -> Body:
    @functools.wraps(body)
    def run(task: Any, row: Row, db: Any, key: str) -> Any:
        return body(row, db, key, SoftTimeLimitExceeded)

    return run


for _body, _injection in WAYS:
    way(injection=_injection)(_of_both(_body))


@way()
def returns_again(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key, 1)


@way(default_retry_delay=0)
def retries(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key, task.request.retries)
    if not task.request.retries:
        raise task.retry()


@way(autoretry_for=(ValueError,), default_retry_delay=0)
def retries_by_itself(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key, task.request.retries)
    if not task.request.retries:
        raise ValueError(key)


@way()
def ignores(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise Ignore


@way()
def rejects(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise Reject(key)


@way()
def replaces(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise task.replace(app.signature(f"returns_again.{row.name}", args=(key,)))


@way(injection={"commit_on": (Ignore,)})
def replaces_and_keeps(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise task.replace(app.signature(f"returns_again.{row.name}", args=(key,)))


@way()
def raises_greenlet_exit(task: Any, row: Row, db: Any, key: str) -> None:
    from greenlet import GreenletExit

    write(row, db, key)
    raise GreenletExit


@app.task(name="storm")
def storm(key: str, name: str, seed: int) -> None:
    context = current_task()
    assert context is not None
    assert context.deadline is not None
    sent_by = context.deadline + 20  # by the worker's main process, which may have to wait for a processor
    one = Storm(name, leased(name), seed, key, (SoftTimeLimitExceeded,))
    rage(one, key, context.deadline, lambda: time.monotonic() > sent_by)
