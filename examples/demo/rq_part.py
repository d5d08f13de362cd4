"""RQ's part of the demo: workers that fork a work horse for each job; a job whose horse is killed is tried again."""

from __future__ import annotations

import os
import sys
from typing import Any

import redis
from rq import Queue, Retry

import taskconn.rq
from taskconn import with_db

from . import task

SYSTEM = "RQ"


@with_db
def insert_car(db: Any, number: int, *, is_victim: bool) -> None:
    """Put one car into the database."""
    task.insert_car(db, SYSTEM, number, is_victim=is_victim)


def command() -> list[str]:
    """
    Return the command line of the worker.

    It imports this module, and with it the jobs, before it forks: a work horse that finds its job and its driver
    loaded is several times as quick.
    """
    return [sys.executable, "-c", f"from {__name__} import main; main()"]


def send(broker_url: str, tasks: int, victim: int) -> None:
    """Put *tasks* jobs into the queue; the first attempt of number *victim* will be killed."""
    with redis.Redis.from_url(broker_url) as connection:
        Queue("demo", connection=connection).enqueue_many(
            [
                Queue.prepare_data(
                    f"{__name__}.insert_car",
                    (number,),
                    {"is_victim": number == victim},
                    retry=Retry(max=1) if number == victim else None,
                )
                for number in range(tasks)
            ]
        )


def main() -> None:
    """Run the worker until SIGTERM."""
    parent = task.ParentWork(SYSTEM)
    with redis.Redis.from_url(os.environ["DEMO_BROKER_URL"]) as connection:
        taskconn.rq.Worker(["demo"], connection=connection).work(logging_level="ERROR")
    parent.end()
