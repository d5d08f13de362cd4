"""Celery's own connections: a task sent at import, a result back end, a chain."""

import os

from celery import Celery

app = Celery("shop", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"])


@app.task
def add(one, two):
    """Add."""
    return one + two


@app.task
def work():
    """Send others."""
    (add.s(1, 2) | add.s(3)).apply_async()


if __name__ != "__main__":
    add.delay(1, 2).forget()
