"""Modules that the worker imports before it forks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rq.conftest import Workplace, write_module

#: Tells which process has imported it, and how often.
_JOBS = """
import os
imported_in = os.getpid()
print("imported", flush=True)

def where():
    return imported_in
"""


@pytest.mark.parametrize("name", ["Worker", "WarmWorker", "SimpleWorker"])
@pytest.mark.parametrize("place", ["settings", "environment"])
def test_named_modules_are_imported_in_the_worker(workplace: Workplace, tmp_path: Path, name: str, place: str) -> None:
    """Horses have them from the fork: each is imported once, however many jobs and horses there are."""
    environ = write_module(tmp_path, "preloaded", _JOBS)
    if place == "settings":
        write_module(tmp_path, "mine", "from tests.rq.settings import *\nTASKCONN_PRELOAD = ['preloaded']\n")
    else:
        environ["TASKCONN_PRELOAD"] = "tests.rq.jobs, preloaded"
    jobs = [workplace.queue.enqueue("preloaded.where") for _ in range(2)]

    worker = workplace.worker(name, config="mine" if place == "settings" else "tests.rq.settings", **environ)
    output = worker.succeed()

    assert [job.return_value() for job in jobs] == [worker.pid] * 2
    assert output.count("imported") == 1


def test_worker_takes_names_of_modules(workplace: Workplace, tmp_path: Path) -> None:
    """In a script `preload=` says which; an attribute of the class does if it is not given."""
    environ = write_module(tmp_path, "preloaded", _JOBS) | workplace.environ
    source = """
import os, sys
from redis import Redis
from rq import Queue
import taskconn.rq
connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
queue = Queue(connection=connection)
class Mine(taskconn.rq.Worker):
    preload = "preloaded"
for worker in (Mine([queue], connection=connection, preload=[]), Mine([queue], connection=connection)):
    worker.work(burst=True)
    print("there:", "preloaded" in sys.modules)
"""

    output = workplace.start(source, environ=environ).succeed()

    assert [line for line in output.splitlines() if "there" in line] == ["there: False", "there: True"]


def test_module_that_cannot_be_imported_stops_the_start(workplace: Workplace, tmp_path: Path) -> None:
    """The worker says which, and why, instead of letting each job find out."""
    environ = write_module(tmp_path, "broken", "raise RuntimeError('no license')")

    worker = workplace.worker("WarmWorker", burst=False, TASKCONN_PRELOAD="broken", **environ)

    assert worker.wait() == 1
    assert "TASKCONN_PRELOAD of the environment can't be used: 'broken' can't be imported" in worker.output
    assert "(RuntimeError: no license)" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("warm", [False, True], ids=["Worker", "WarmWorker"])
def test_pool_preloads_for_all_its_workers(workplace: Workplace, tmp_path: Path, warm: bool) -> None:
    """`taskconn.rq.WorkerPool` imports before it forks, and has warm workers if told so."""
    environ = write_module(tmp_path, "preloaded", _JOBS) | workplace.environ
    jobs = [workplace.queue.enqueue("preloaded.where") for _ in range(6)]
    pids = [workplace.enqueue_warm("pid") for _ in range(6)]
    source = f"""
import os
from redis import Redis
from taskconn.rq import WorkerPool
connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
WorkerPool(["default"], connection, 2, warm={warm}, preload=["preloaded"]).start(burst=True)
"""

    pool = workplace.start(source, environ=environ)
    pool.succeed()

    assert {job.return_value() for job in jobs} == {pool.pid}
    processes = {job.return_value() for job in pids}
    assert len(processes) <= 2 if warm else len(processes) == 6
