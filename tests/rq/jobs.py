"""Jobs of the tests, run by real workers. Each leaves what it saw in the database."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

from rq import Queue, Retry, get_current_job
from rq.job import Job

import taskconn
import taskconn.rq
from taskconn import with_db
from taskconn._interrupts import strikes

#: As a user's module has it: used by `insert_by_proxy` and, in the parent, by the settings module.
conn = taskconn.proxy("default")


def note(db: Any, name: str) -> None:
    """Write down who runs, over which session."""
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO seen (name, pid, session) VALUES (%s, %s, CONNECTION_ID())", (name, os.getpid()))


@with_db
def ask(db: Any, question: str) -> float:
    """Ask; gives the first value of the answer, or prints what ended it and after how many seconds."""
    began = time.monotonic()
    try:
        with db.cursor() as cursor:
            cursor.execute(question)
            return float(cursor.fetchone()[0])
    except BaseException as error:
        print("ENDED BY", type(error).__name__, time.monotonic() - began, flush=True)
        raise


@with_db
def insert(db: Any, name: str) -> str:
    """Write one row."""
    note(db, name)
    return name


def swallow_the_timeout() -> str:
    """Be a client library that catches whatever strikes it; give what taskconn knows of it."""
    mark = strikes.count
    with contextlib.suppress(Exception):
        time.sleep(30)
    return type(strikes.since(mark)).__name__


@with_db
def insert_and_enqueue(db: Any, name: str, *, fails: bool = False) -> str:
    """Write one row, and have another job count it once it is committed; gives that job's id."""
    job = get_current_job()
    assert job is not None
    queue = Queue("default", connection=job.connection)
    follower = taskconn.rq.enqueue_on_commit(queue, count_notes, name)
    note(db, name)
    assert not Job.exists(follower.id, connection=job.connection)
    if fails:
        raise ValueError(name)
    return follower.id


@with_db
def count_notes(db: Any, name: str) -> int:
    """Count the notes of a name."""
    with db.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM seen WHERE name = %s", (name,))
        return int(cursor.fetchone()[0])


@with_db(once=True)
def insert_once(db: Any, name: str) -> list[str]:
    """Write one row."""
    note(db, name)
    return [name, "written"]


def insert_once_and_die(name: str) -> list[str]:
    """Be killed after the commit, at the first attempt."""
    written: list[str] = insert_once_by_name(name)
    job = get_current_job()
    assert job is not None
    if job.connection.incr("attempts") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return written


insert_once_and_die.__wrapped__ = insert_once  # type: ignore[attr-defined]  # as `functools.wraps` would


def insert_once_by_name(name: str) -> Any:
    """Call what is done once."""
    return insert_once(name)


@with_db(once=True)
def insert_once_and_retry(db: Any, name: str) -> Any:
    """Return RQ's `Retry` at the first attempt."""
    note(db, name)
    job = get_current_job()
    assert job is not None
    return Retry(max=1) if job.number_of_retries in (None, 0) else name


@with_db
def count_sessions(db: Any, name: str) -> int:
    """Count the sessions that use the database."""
    note(db, name)
    with db.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()")
        return int(cursor.fetchone()[0])


@with_db
def insert_and_raise(db: Any, name: str) -> None:
    """Fail after the row."""
    note(db, name)
    raise ValueError(name)


@with_db
def insert_and_retry(db: Any, name: str) -> Any:
    """Return RQ's `Retry` at the first attempt."""
    note(db, name)
    job = get_current_job()
    assert job is not None
    return Retry(max=1) if job.number_of_retries in (None, 0) else name


@with_db
def insert_and_wait(db: Any, name: str) -> None:
    """Wait, outside of the database, for whatever signal comes."""
    note(db, name)
    print(f"waiting {os.getpid()}", flush=True)
    while True:
        signal.pause()


@with_db
def insert_and_sleep(db: Any, name: str) -> None:
    """Wait inside the database for longer than any limit."""
    note(db, name)
    with db.cursor() as cursor:
        cursor.execute("SELECT SLEEP(60)")


@with_db
async def insert_async(db: Any, name: str) -> str:
    """Write one row in a coroutine."""
    note(db, name)
    await asyncio.sleep(0)
    return name


@with_db
def where(db: Any) -> str:
    """Name the database that the connection is to."""
    with db.cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        return str(cursor.fetchone()[0])


@with_db
def insert_and_perform(db: Any, name: str) -> Any:
    """Perform another job in the middle of this one, in this process; it is committed, this one is not."""
    note(db, f"{name} outside")
    job = get_current_job()
    assert job is not None
    Queue("inner", connection=job.connection, is_async=False).enqueue(insert, f"{name} inside")
    raise ValueError(name)


def insert_by_proxy_uncommitted(name: str) -> None:
    """Write one row, and forget it."""
    note(conn, name)


def insert_by_proxy(name: str) -> None:
    """Write one row, and commit it by hand."""
    note(conn, name)
    conn.commit()


def insert_in_lease_left_open(name: str) -> None:
    """Write one row in a lease that nobody ends."""
    note(taskconn.lease("default").__enter__(), name)


def opens_before_use() -> int:
    """Count what was opened before the job began."""
    return taskconn.stats().get("default", {}).get("opens", 0)


def time_left() -> float | None:
    """Say in how many seconds the job's limit strikes."""
    from taskconn.rq import current_job_context

    context = current_job_context()
    assert context is not None
    return None if context.deadline is None else context.deadline - time.monotonic()


def insert_when_stopped(job: Job, connection: Any) -> None:
    """Callback: RQ runs it in the worker, which is the parent of the horses."""
    with taskconn.lease("default") as db:
        note(db, "stopped")


def insert_when_failed(job: Job, connection: Any, *details: Any) -> None:
    """Callback: RQ runs it where the job ran."""
    with taskconn.lease("default") as db:
        note(db, "failed")
