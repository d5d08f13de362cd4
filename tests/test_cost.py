"""What a lease costs, counted: calls of Python functions, and of C. Times are in `benchmarks/`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.portable

#: Functions of C that a warm lease may call. None is a system call: `monotonic` is read without one. Where the kernel
#: can't tell a child by a wiped page, `getpid` is.
ALLOWED_C_CALLS = {"_get_running_loop", "append", "get", "getcurrent", "_getframe", "isinstance", "len"} | {
    "monotonic",
    "pop",
    *([] if sys.platform == "linux" else ["getpid"]),
}

COUNT = """
import json, sys
from taskconn.testing import FakeDriver

def count(once):
    once()
    python, native = [], set()

    def note(frame, event, argument):
        if event == "call":
            python.append(frame.f_code.co_name)
        elif event == "c_call":
            native.add(argument.__name__)

    sys.setprofile(note)
    once()
    sys.setprofile(None)
    print(json.dumps([python, sorted(native - {"setprofile"})]))
"""

LEASE = """
loaded, way = sys.argv[1:]
if loaded == "loaded":
    import asyncio, greenlet
import taskconn

registry = taskconn._registry.process_registry
handle = registry.add("default", FakeDriver())
handles = {"by name": "default", "by handle": handle}
if way == "with_db":
    @taskconn.with_db
    def once(db): pass
else:
    def once():
        with taskconn.lease(handles[way]): pass

count(once)
"""

CELERY = """
import celery
import taskconn, taskconn.celery

app = celery.Celery("shop", broker="memory://")
taskconn.celery.install(app)
taskconn._registry.installed(app).add("default", FakeDriver())

@taskconn.with_db
def once(db): pass

@app.task
def task():
    count(once)

task.apply()
"""

RQ = """
import redis, rq.job
import taskconn, taskconn.rq

taskconn._registry.process_registry.add("default", FakeDriver())

@taskconn.with_db
def once(db): pass

rq.job._current_job.set(rq.job.Job.create("shop.count", connection=redis.Redis()))
count(once)
"""


def cost(program: str, *args: str, **environ: str) -> tuple[list[str], set[str]]:
    """Name the functions of Python, in order, and those of C that `once` called in *program*."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT + program, *args],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    python, native = json.loads(done.stdout)
    return python, set(native)


@pytest.mark.parametrize("way", ["by name", "by handle", "with_db"])
@pytest.mark.parametrize("loaded", ["alone", "loaded"])
def test_lease_costs_15_calls_and_no_system_call(loaded: str, way: str) -> None:
    """A warm lease costs at most 15 calls of Python functions, in and out, and nothing of C that asks the system."""
    python, native = cost(LEASE, loaded, way)

    assert len(python) - (way != "with_db") <= 15, python  # without the call of `once`, unless it is what is measured
    assert native <= ALLOWED_C_CALLS


@pytest.mark.parametrize("environ", [{}, {"USE_FAST_LOCALS": "1"}], ids=["locals", "fast locals"])
def test_lease_in_a_task_of_celery_costs_15_calls(environ: dict[str, str]) -> None:
    """To ask Celery which attempt runs costs three calls of Python functions more, five with its other locals."""
    python, native = cost(CELERY, **environ)

    assert len(python) - 1 <= (17 if environ else 15), python  # without the call of the task's own function
    assert native <= ALLOWED_C_CALLS | {"getattr", "id"}


def test_lease_in_a_job_of_rq_costs_15_calls() -> None:
    """To ask RQ which job runs costs one call of a Python function more."""
    python, native = cost(RQ)

    assert len(python) - 1 <= 15, python
    assert native <= ALLOWED_C_CALLS
