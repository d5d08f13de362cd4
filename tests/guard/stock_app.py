"""An application as manuals show it, with nothing of its own open; the environment says how it is configured."""

from __future__ import annotations

import json
import os

from celery import Celery, chord, group

app = Celery("stock")
app.conf.update(json.loads(os.environ["STOCK_SETTINGS"]))
app.conf.task_default_queue = os.environ.get("STOCK_QUEUE", "celery")


@app.task
def add(one, two):
    """Add."""
    return one + two


@app.task
def total(numbers):
    """Add them all."""
    return sum(numbers)


@app.task(bind=True, max_retries=1)
def retry(self):
    """Fail once."""
    raise self.retry(countdown=0)


@app.task
def fail():
    """Fail."""
    raise ValueError("as a stock task may")


@app.task
def send():
    """Send others, as tasks do: one by one, and as a workflow where there is a result back end."""
    add.delay(1, 2)
    if app.conf.result_backend and not app.conf.result_backend.startswith("rpc"):
        chord(group(add.s(1, 2), add.s(3, 4)), total.s()).apply_async()


@app.on_after_configure.connect
def schedule(sender, **_):
    """Give an embedded beat something to send."""
    sender.add_periodic_task(0.5, add.s(0, 0))
