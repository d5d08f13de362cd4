"""The project that workers of these tests run; the environment says how it is configured and what it does at import."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

import taskconn
import taskconn.celery
from taskconn import with_db
from taskconn.errors import ConnectionFailedError
from tests.celery.counting import add_one, dies_after_commit

#: What this project does beyond its tasks: words that tests give.
PLAN = frozenset(os.environ.get("PROJECT_PLAN", "").split())

app = Celery("project")
app.conf.update(json.loads(os.environ["PROJECT_SETTINGS"]))


@app.task
@with_db
def put(db: Any, n: int, pause_s: float = 0.0) -> None:
    """Store who runs, on which session, from when to when."""
    began = time.monotonic()
    with db.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (session,) = cursor.fetchone()
        time.sleep(pause_s)
        cursor.execute(
            "INSERT INTO visits (n, pid, session, began, ended) VALUES (%s, %s, %s, %s, %s)",
            (n, os.getpid(), session, began, time.monotonic()),
        )


@app.task(autoretry_for=(ConnectionFailedError,), default_retry_delay=0.1, max_retries=None)
@with_db
def put_when_up(db: Any, n: int) -> None:
    """Write a row, as soon as there is a server."""
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))


@app.task
@with_db
def put_and_fail(db: Any, n: int) -> None:
    """Write a row that is to be rolled back."""
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))
    raise ValueError("no")


@app.task
@with_db
def put_and_wait(db: Any, n: int) -> None:
    """Write a row, and wait to be killed."""
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))
    say("in-transaction", os.getpid())
    time.sleep(60)


@app.task
@with_db
def put_and_send(db: Any, n: int, fails: bool = False) -> None:  # noqa: FBT002 -- an argument of a message
    """Write a row, and have another task tell it once it is committed; then fail, perhaps."""
    result = taskconn.celery.delay_on_commit(tell, n)
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))
    say("will-send", n, result.id)
    if fails:
        raise ValueError("no")


@app.task
@with_db
def put_and_call(db: Any, n: int) -> None:
    """Write a row, and wait for its commit with callbacks, one of which fails."""
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))
    taskconn.after_commit(say, "first", n)
    taskconn.after_commit(divide, n, 0)
    taskconn.after_commit(say, "last", n)


def divide(dividend: int, divisor: int) -> float:
    """Fail, for some divisors."""
    return dividend / divisor


@app.task
@with_db
def tell(db: Any, n: int) -> None:
    """Tell how many rows *n* there are, and this task's id."""
    with db.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM visits WHERE n = %s", (n,))
        say("told", n, cursor.fetchone()[0], tell.request.id)


@app.task(acks_late=True, reject_on_worker_lost=True)
@dies_after_commit
@with_db(once=True)
def count_once(db: Any, n: int) -> int:
    """Add one to a counter, and to another one for each task."""
    return add_one(db, "once", n)


@app.task(acks_late=True, reject_on_worker_lost=True)
@dies_after_commit
@with_db
def count_plainly(db: Any, n: int) -> int:
    """Do the same, as often as the task is delivered."""
    return add_one(db, "plain", n)


@app.task
@with_db(once=True)
def put_once(db: Any, n: int, pause_s: float = 0.0) -> int:
    """Store a row, say so, and take one's time before the commit; gives the session."""
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO visits (n) VALUES (%s)", (n,))
        cursor.execute("SELECT CONNECTION_ID()")
        say("putting", n)
        time.sleep(pause_s)
        return int(cursor.fetchone()[0])


@app.task(bind=True, default_retry_delay=0)
@with_db(once=True)
def put_at_second_try(self: Any, db: Any, n: int) -> int:
    """Store a row, and be content with it at the second attempt only."""
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return n


@app.task(bind=True)
@with_db(once=True)
def put_and_replace(self: Any, db: Any, n: int) -> int:
    """Store a row, and have a task of the same function and the same id go on, until *n* is 12."""
    db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))
    if n < 12:
        raise self.replace(self.s(n + 1))
    return n


@app.task
def put_by_helper(n: int) -> None:
    """Call a function that is done once for a task, from another one."""
    put_once.run(n)


@app.task
def put_in_thread(n: int) -> None:
    """Lease outside of the task, as a thread that it starts does."""

    def put_it() -> None:
        with taskconn.lease() as db:
            db.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))

    thread = threading.Thread(target=put_it)
    thread.start()
    thread.join()


@app.task
@with_db
def send_nothing(db: Any) -> None:
    """Lease, and send no statement."""


@app.task
@with_db
def count(db: Any) -> None:
    """Tell how many rows there are, in the snapshot that this session has."""
    with db.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM visits")
        say("counted", cursor.fetchone()[0])


@app.task
@with_db
def put_slowly(db: Any, n: int) -> None:
    """Write a row by a statement of a minute that commits by itself."""
    db.autocommit(True)
    db.cursor().execute("INSERT INTO visits (n) SELECT %s + SLEEP(60)", (n,))


@app.task
@with_db
def ask(db: Any, question: str) -> None:
    """Ask, and tell the first value of the answer, or what ended it and after how many seconds."""
    began = time.monotonic()
    try:
        with db.cursor() as cursor:
            cursor.execute(question)
            say("answer", float(cursor.fetchone()[0]))
    except BaseException as error:
        say("ended-by", type(error).__name__, round(time.monotonic() - began, 2))
        raise


by_proxy = taskconn.proxy()


@app.task
def put_by_proxy(n: int) -> None:
    """Write a row by the proxy, and leave it to nobody."""
    by_proxy.cursor().execute("INSERT INTO visits (n) VALUES (%s)", (n,))


@app.task
def commit_by_proxy() -> None:
    """Commit what the proxy's connection has."""
    by_proxy.commit()


@app.task(soft_time_limit=40, time_limit=50)
def tell_context() -> None:
    """Tell what a lease would know of this task, and the seconds that it has left."""
    from taskconn._context import current_task

    task = current_task()
    assert task is not None
    say("context", task.system, task.name, round(task.deadline - time.monotonic()) if task.deadline else None)


@app.task
def swallow_the_limit() -> None:
    """Be a client library that catches whatever strikes it; tell what taskconn knows of it."""
    from taskconn._interrupts import strikes

    mark = strikes.count
    with contextlib.suppress(Exception):
        time.sleep(30)
    say("noted", type(strikes.since(mark)).__name__)


def say(*words: object) -> None:
    """Tell the test, by the worker's log, in one line."""
    logging.getLogger(__name__).warning("SAY %s", " ".join(map(str, words)))


if "configured" in PLAN:
    taskconn.configure({"default": os.environ["PROJECT_DATABASE"]}, app=app)

if "parent-leases" in PLAN and "FORKED_BY_MULTIPROCESSING" not in os.environ:
    with taskconn.lease() as at_import, at_import.cursor() as its_cursor:
        its_cursor.execute("SELECT CONNECTION_ID()")
        print("SAY parent-session", its_cursor.fetchone()[0], flush=True)
        its_cursor.execute("INSERT INTO visits (n) VALUES (-1)")
    held = taskconn.lease("held")
    held_db = held.__enter__()
    with held_db.cursor() as its_cursor:
        its_cursor.execute("INSERT INTO visits (n) VALUES (-2)")
        its_cursor.execute("SELECT CONNECTION_ID()")
        print("SAY parent-session", its_cursor.fetchone()[0], flush=True)

if "async-task" in PLAN:

    @app.task(autoretry_for=(ValueError,))
    @with_db
    async def never_awaited(db: Any) -> None:
        """Stand for a mistake."""


if "unknown-alias" in PLAN:

    @app.task
    @with_db("chache")
    def misspelt(db: Any) -> None:
        """Stand for another one."""


if "lambda-password" in PLAN:
    app.conf.taskconn_databases["default"] = {"url": "mysql://db/shop", "password_from": lambda: "s3cr3t"}

if "slow-password" in PLAN:

    def password() -> str:
        """Give a password as a token service does that hangs: in a child, while it is being warmed up."""
        if "PoolWorker" in __import__("billiard").current_process().name:
            time.sleep(30)
        return "s3cret"


@worker_process_init.connect(weak=False)
def _begun(**_: Any) -> None:
    say("child", os.getpid())
