"""The Celery project of these tests: a task for each driver and each way to end, named ``way.driver``."""

# ruff: noqa: D103 -- the names of the tasks say what they do
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.signals import task_postrun, task_revoked

from taskconn import with_db
from tests.drivers.rows import ROWS, Row
from tests.outcomes.bodies import say, wait_for_file, wait_in_python, wait_in_statement, write
from tests.outcomes.storm import Storm, leased, rage

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


# -- what functions do by themselves -----------------------------------------------------------------------------------


@way()
def returns(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)


@way()
def returns_again(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key, 1)


@way()
def raises(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise ValueError(key)


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


@way(injection={"commit_on": (ValueError,)})
def raises_and_keeps(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise ValueError(key)


@way(injection={"rollback_on": lambda result: result is False})
def returns_failure(task: Any, row: Row, db: Any, key: str) -> bool:
    write(row, db, key)
    return False


@way()
def exits(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    sys.exit(3)


@way()
def raises_keyboard_interrupt(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    raise KeyboardInterrupt


@way()
def raises_greenlet_exit(task: Any, row: Row, db: Any, key: str) -> None:
    from greenlet import GreenletExit

    write(row, db, key)
    raise GreenletExit


# -- what strikes them -------------------------------------------------------------------------------------------------


@way()
def waits(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    say("in-transaction", key)
    wait_in_python()


@way()
def waits_in_statement(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    say("in-transaction", key)
    wait_in_statement(row, db, 2.0)
    wait_in_python()


@way()
def swallows(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    try:
        wait_in_python()
    except SoftTimeLimitExceeded:
        say("swallowed", key)


@way()
def asks_again(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    try:
        wait_in_statement(row, db, 2.0)
        wait_in_python()
    except SoftTimeLimitExceeded:
        answer, right = row.ask(db, 3)
        say("asked-again", key, "right" if answer == right else "wrong")


@way()
def waits_for_release(task: Any, row: Row, db: Any, key: str) -> None:
    write(row, db, key)
    say("in-transaction", key)
    wait_for_file(os.environ["OUTCOMES_RELEASE"])


# -- the fuzz ----------------------------------------------------------------------------------------------------------


@app.task(name="storm")
def storm(key: str, name: str, seed: int) -> None:
    rage(Storm(name, leased(name), seed, key, (SoftTimeLimitExceeded,)), key, time.monotonic() + 4)
