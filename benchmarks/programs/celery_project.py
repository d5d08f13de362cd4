"""A Celery project whose one task writes a row; the environment says how it comes by its connection."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, Task
from celery.signals import worker_process_init

#: One of `WAYS`.
WAY = os.environ.get("BENCH_WAY", "taskconn")
URL = os.environ.get("BENCH_URL", "")

app = Celery("bench", broker=os.environ.get("BENCH_BROKER", "memory://"), set_as_current=False)
app.conf.update(
    task_default_queue="bench",
    task_ignore_result=True,
    task_acks_late=True,  # so that the broker knows when the last one has ended
    worker_prefetch_multiplier=16,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    taskconn_databases={"default": URL} if URL else {},
)


def connect() -> Any:
    """Open a connection by the library itself."""
    parts = urlsplit(URL)
    if parts.scheme == "mysql":
        import pymysql  # noqa: PLC0415 -- that of the run alone

        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.strip("/"),
        )
    import psycopg  # noqa: PLC0415 -- as above

    return psycopg.connect(URL)


def write(connection: Any, who: str) -> None:
    """Write the task's row."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO done (who) VALUES (%s)", (who,))


class DatabaseTask(Task):
    """The base class of Celery's manual, "Instantiation"."""

    _db: Any = None

    @property
    def db(self) -> Any:
        """The connection of this task's class in this process."""
        if self._db is None:
            self._db = connect()
        return self._db


_global: Any = None


def _connect_globally(**_: Any) -> None:
    global _global  # noqa: PLW0603 -- just that is measured
    _global = connect()


def _per_task() -> Any:
    @app.task(name="insert")
    def insert(who: str) -> None:
        connection = connect()
        try:
            write(connection, who)
            connection.commit()
        finally:
            connection.close()

    return insert


def _property() -> Any:
    @app.task(name="insert", base=DatabaseTask, bind=True)
    def insert(self: DatabaseTask, who: str) -> None:
        write(self.db, who)
        self.db.commit()

    return insert


def _by_global() -> Any:
    worker_process_init.connect(_connect_globally)

    @app.task(name="insert")
    def insert(who: str) -> None:
        write(_global, who)
        _global.commit()

    return insert


def _by_taskconn() -> Any:
    import taskconn  # noqa: PLC0415 -- that of the run alone
    import taskconn.celery  # noqa: PLC0415 -- as above

    taskconn.celery.install(app)

    @app.task(name="insert")
    @taskconn.with_db
    def insert(db: Any, who: str) -> None:
        write(db, who)

    return insert


#: Contender -> what makes its task; the floor first.
WAYS: dict[str, Callable[[], Any]] = {
    "global made in worker_process_init": _by_global,
    "taskconn": _by_taskconn,
    "DatabaseTask property": _property,
    "connect per task": _per_task,
}

insert = WAYS[WAY]()
