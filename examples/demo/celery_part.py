"""Celery's part of the demo: a prefork worker of two children; a task whose child is killed is delivered again."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_shutdown

from taskconn import with_db

from . import task

SYSTEM = "Celery"

app = Celery("demo", broker=os.environ.get("DEMO_BROKER_URL", "memory://"), set_as_current=False)
app.conf.update(
    imports=["taskconn.celery"],  # TASKCONN_URL says how to connect
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=20,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task
@with_db
def insert_car(db: Any, number: int, *, is_victim: bool) -> None:
    """Put one car into the database."""
    task.insert_car(db, SYSTEM, number, is_victim=is_victim)


def command() -> list[str]:
    """Return the command line of the worker."""
    worker = [sys.executable, "-m", "celery", "-A", f"{__name__}:app", "worker", "--pool", "prefork", "-c", "2"]
    return [*worker, "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]


def send(broker_url: str, tasks: int, victim: int) -> None:
    """Put *tasks* tasks into the queue; the first attempt of number *victim* will be killed."""
    app.conf.update(broker_url=broker_url)
    with app.producer_or_acquire() as producer:
        for number in range(tasks):
            insert_car.apply_async((number,), {"is_victim": number == victim}, producer=producer)


@worker_init.connect
def _use_a_connection_in_the_parent(**_: Any) -> None:
    parent = task.ParentWork(SYSTEM)
    worker_shutdown.connect(lambda **_: parent.end(), weak=False)
