"""Memory of forked children that each use one connection: ``children <by> <url>``; *by* is taskconn or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import psutil

from .talk import answer

by, url = sys.argv[1:]


def _make_connect() -> Callable[[], Any]:
    """Import the library before the fork, as a project's modules do, and give what connects."""
    parts = urlsplit(url)
    if parts.scheme == "mysql":
        import pymysql  # noqa: PLC0415 -- that of this run alone

        arguments = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
        return lambda: pymysql.connect(**arguments)
    import psycopg  # noqa: PLC0415 -- as above

    return lambda: psycopg.connect(url)


def _select(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()


def _make_task() -> Callable[[], object]:
    if by != "taskconn":
        connect = _make_connect()
        kept: list[Any] = []

        def task() -> None:
            if not kept:
                kept.append(connect())
            _select(kept[0])
            kept[0].commit()

        return task
    import taskconn  # noqa: PLC0415 -- that of this run alone

    registry = taskconn.Registry()
    registry.add("default", url)
    registry.check()  # imports the driver, as a worker does

    @taskconn.with_db(registry.handle("default"))
    def leased(db: Any) -> None:
        _select(db)

    return leased


def measure() -> Mapping[str, float]:
    """Fork a child that runs ten tasks; gives the memory that is its own, and all that this process has."""
    task_end, end = os.pipe()
    pid = os.fork()
    if not pid:
        for _ in range(10):
            task()
        os.write(end, str(psutil.Process().memory_full_info().uss).encode())
        os._exit(0)
    os.close(end)
    uss = int(os.read(task_end, 100))
    os.close(task_end)
    os.waitpid(pid, 0)
    return {"uss_kb": uss / 1024, "rss_kb": psutil.Process().memory_info().rss / 1024}


task = _make_task()
answer(measure)
