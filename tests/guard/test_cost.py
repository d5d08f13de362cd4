"""What the guard costs, counted; the times are in `benchmarks/`."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.process import Script

#: Fifty descriptors, twenty of them clients of one server, and what a fork costs that has nothing new to report.
_FORK = """
import os, socket, sys, taskconn
from taskconn import _descriptors
from taskconn._guard._modes import the_guard

server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
taskconn.guard("warn", allow=[f"127.0.0.1:{port}"])
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
files = [open(os.devnull) for _ in range(50 - len(os.listdir("/proc/self/fd")))]
the_guard.before_fork()  # asks the kernel about each of them

calls, asked = [], []
fstat = os.fstat

def count(frame, event, argument):
    if event == "call":
        calls.append(frame.f_code.co_name)

os.fstat = lambda fd: asked.append(fd) or fstat(fd)
sys.setprofile(count)
the_guard.before_fork()
sys.setprofile(None)
print("descriptors", len(asked), "calls", len([name for name in calls if name != "<lambda>"]))
"""

#: What an audit event costs that is none of the guard's, in calls of an empty function: hooks can't be counted.
_EVENT = """
import sys, time, timeit, taskconn
def best(call):
    return min(timeit.repeat(call, timer=time.process_time, number=20_000, repeat=15))
bare = best(lambda: sys.audit("somebody.else", 1))
taskconn.guard("warn")
print((best(lambda: sys.audit("somebody.else", 1)) - bare) / best(lambda: (lambda: None)()))
"""

#: Between forks no profiler is left behind, and a program that is no worker has none at all.
_TRACE = """
import sys, taskconn
from taskconn import _guard
taskconn.guard("warn")
import psycopg2
print("without", sys.getprofile())
_guard.trace()
print("traced", type(sys.getprofile()).__name__)
_guard.worker_is_ready()
print("ready", sys.getprofile())
"""


def test_fork_costs_one_system_call_for_each_descriptor_and_few_of_python(script: Callable[..., Script]) -> None:
    """A fork with 50 descriptors that has nothing new asks about each once, and calls a dozen functions."""
    words = script(_FORK).succeed().split()

    assert 50 <= int(words[1]) <= 52
    assert int(words[3]) <= 12


def test_audit_event_of_others_costs_a_call_or_two(script: Callable[..., Script]) -> None:
    """Each audit event of the interpreter costs one call that looks into a dictionary, and nothing beyond."""
    assert float(script(_EVENT).succeed(60)) < 4


def test_calls_are_traced_until_the_worker_is_ready_only(script: Callable[..., Script]) -> None:
    """A trace begins where one is asked for and a client in C is loaded, and ends when the worker is ready."""
    output = script(_TRACE).succeed()

    assert output.split("\n")[:3] == ["without None", "traced _Tracer", "ready None"]


def test_without_a_client_in_c_nothing_is_traced(script: Callable[..., Script]) -> None:
    """Clients in Python raise audit events, so a program with them alone runs at full speed."""
    source = "import sys\nfrom taskconn import _guard\n_guard.trace()\nimport pymysql, redis\nprint(sys.getprofile())\n"

    assert script(source).succeed().strip() == "None"
