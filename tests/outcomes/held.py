"""What workers run while a proxy holds COMMIT's answer: a task of Celery's and a job of RQ's. Settings of both, too."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import Celery

from taskconn import with_db

REDIS_URL = os.environ["HELD_REDIS_URL"]
TASKCONN_DATABASES = {"default": os.environ["HELD_DATABASE_URL"]}

app = Celery("held", broker=REDIS_URL, backend=REDIS_URL, include=["taskconn.celery"])
app.conf.update(taskconn_databases=TASKCONN_DATABASES, task_default_queue="held")


@with_db
def write(db: Any, key: str) -> str:
    """Write one row, and tell who does."""
    db.cursor().execute("INSERT INTO held (word) VALUES (%s)", (key,))
    os.write(1, f"WROTE {key} {os.getpid()}\n".encode())  # one line, that nothing gets in between
    return key


task = app.task(name="write")(write)


def listen(key: str) -> str:
    """Write one row while signals have handlers of the task's own; two of them call what was there before."""
    numbers = (signal.SIGUSR1, signal.SIGALRM, signal.SIGTERM)
    before: dict[int, Any] = {}

    def hear(number: int, frame: Any) -> None:
        os.write(1, f"HEARD {key} {number:d}\n".encode())
        if number != signal.SIGTERM and callable(before[number]):
            before[number](number, frame)

    for number in numbers:
        before[number] = signal.signal(number, hear)
    try:
        write(key)
        os.write(1, f"KEPT {key} {all(signal.getsignal(number) is hear for number in numbers)}\n".encode())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return key


listening = app.task(name="listen")(listen)
