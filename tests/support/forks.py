"""Programs that fork in every way there is, over one alias with real sockets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.process import ROOT

#: What every program of these tests begins with: one alias over real sockets, leased once.
PRELUDE = """
import ctypes, gc, os, sys, threading, time
import taskconn
from taskconn.errors import InheritedConnectionError
from tests.support.core import WiredDriver

driver = WiredDriver()
registry = taskconn.Registry()
handle = registry.add("orders", driver, max_size=2, acquire_timeout=5)
parent = os.getpid()

def lease():
    return taskconn.lease(handle)

def use():
    with lease() as db:
        db.execute("INSERT")
        assert db.taskconn_session.owner_pid == os.getpid(), "a connection of another process"
    return db

def wait(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"
"""


def run(source: str) -> str:
    """Run a program in a fresh interpreter, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + source], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


#: Ways to fork: each runs `child` in a child process and waits for its end.
WAYS = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
wait(pid)
""",
    "os.fork, ordinary exit": """
pid = os.fork()
if pid == 0:
    child()
    sys.exit(0)
wait(pid)
""",
    "multiprocessing": """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
""",
    "billiard": """
import billiard
process = billiard.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
""",
    "a supervisor thread": """
def supervise():
    pid = os.fork()
    if pid == 0:
        child()
        os._exit(0)
    wait(pid)
thread = threading.Thread(target=supervise)
thread.start()
thread.join()
""",
    "fork(2) without hooks": """
pid = ctypes.CDLL(None).fork()
if pid == 0:
    child()
    os._exit(0)
wait(pid)
""",
}


every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
