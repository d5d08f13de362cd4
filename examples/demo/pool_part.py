"""multiprocessing's part of the demo: a pool of two children; its sender repeats the task of a killed one."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

import redis

from taskconn import with_db

from . import task

SYSTEM = "Pool"

#: Redis list by which the demo says that it has killed the victim.
KILLED = "demo:killed"


@with_db
def insert_car(db: Any, number: int, *, is_victim: bool) -> None:
    """Put one car into the database."""
    task.insert_car(db, SYSTEM, number, is_victim=is_victim)


def command(tasks: int, victim: int) -> list[str]:
    """Return the command line of the program, which sends its tasks itself."""
    return [sys.executable, "-c", f"from {__name__} import main; main({tasks}, {victim})"]


def main(tasks: int, victim: int) -> None:
    """Run *tasks* tasks in a pool, and number *victim*, whose first attempt will be killed, once more."""
    parent = task.ParentWork(SYSTEM)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        sent = {
            number: pool.apply_async(insert_car, (number,), {"is_victim": number == victim}) for number in range(tasks)
        }
        with redis.Redis.from_url(os.environ["DEMO_BROKER_URL"], socket_timeout=None) as connection:
            connection.blpop([KILLED])
        # multiprocessing.Pool replaces a child that has died, but nobody will ever answer for its task.
        sent[victim] = pool.apply_async(insert_car, (victim,), {"is_victim": True})
        for result in sent.values():
            result.get()
        # Here the pool is terminated: close() and join() would wait for the lost task for ever.
    parent.end()
