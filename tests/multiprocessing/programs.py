"""Programs of the tests, as files of their own: children that are spawned import them."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
from typing import Any

import taskconn
import taskconn.multiprocessing

if os.environ.get("TEST_CONFIGURES"):
    taskconn.configure({"default": os.environ["TEST_DATABASE_URL"]})

#: Set by the program that uses it.
barrier: Any = None

#: The article's program has `conn = pymysql.connect(...)` here.
conn = taskconn.proxy("default")


def note(db: Any, name: str) -> None:
    """Write down who runs, over which session."""
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO seen (name, pid, session) VALUES (%s, %s, CONNECTION_ID())", (name, os.getpid()))


def insert_by_proxy(count: int) -> None:
    """Insert and commit, as the article does."""
    for _ in range(count):
        note(conn, "child")
        conn.commit()


def insert(_: int) -> None:
    """Insert in a lease."""
    with taskconn.lease() as db:
        note(db, "child")


def insert_when_all_are_there(_: int) -> None:
    """Insert, so that each child of the pool does it once."""
    barrier.wait(30)
    insert(0)
    barrier.wait(30)


def opens(_: int) -> int:
    """Count what was opened in this process."""
    return taskconn.stats().get("default", {}).get("opens", 0)


def failure(_: int) -> str:
    """Tell what a lease raises."""
    try:
        insert(0)
    except taskconn.TaskconnError as error:
        return str(error)
    return "nothing"


def _processes(context: Any) -> None:
    children = [context.Process(target=insert_by_proxy, args=(5,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]


def _pool(context: Any, **options: Any) -> None:
    pool = context.Pool(3, **options)
    pool.map(insert, range(15), chunksize=1)
    pool.close()
    pool.join()


def _executor(context: Any, **options: Any) -> None:
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context, **options) as executor:
        list(executor.map(insert, range(15)))


def main(kind: str, method: str) -> None:
    """Run one of them, after this process has used its own connection and left a transaction open."""
    context = multiprocessing.get_context(method)
    note(conn, "parent")
    session = conn.thread_id()
    run = {"Process": _processes, "Pool": _pool, "ProcessPoolExecutor": _executor}[kind]
    run(context)
    if kind != "Process":
        databases = {"default": os.environ["TEST_DATABASE_URL"]}
        run(context, initializer=taskconn.multiprocessing.initializer, initargs=(databases,))  # type: ignore[call-arg]
    assert conn.thread_id() == session
    conn.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
