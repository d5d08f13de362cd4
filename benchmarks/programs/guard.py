"""A process with 50 descriptors, under the guard or not: ``guard <mode> <what> <times a round>``; see `measures`."""

from __future__ import annotations

import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import taskconn

from .talk import answer

mode, what, times = sys.argv[1], sys.argv[2], int(sys.argv[3])

#: Descriptors of the process, and how many of them are clients of one server that is allowed.
DESCRIPTORS, CLIENTS = 50, 20

server = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
address = server.getsockname()[:2]
clients = [socket.create_connection(address) for _ in range(CLIENTS)]
open_now = len(list(Path("/proc/self/fd").iterdir())) - 1
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(DESCRIPTORS - open_now)]
if mode != "none":
    taskconn.guard(mode, allow=[f"{address[0]}:{address[1]}"])  # type: ignore[arg-type]  # a word of the command line


def fork() -> None:
    """Fork, and wait for the child, which ends at once."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def audit() -> None:
    """Raise a hundred audit events that are none of the guard's."""
    for _ in range(100):
        sys.audit("bench.event", 1)


def connect() -> None:
    """Connect and close: the guard keeps the calls that led to it."""
    client = socket.create_connection(address)
    server.accept()[0].close()
    client.close()


#: What is measured -> how, and how many of them one call does.
measures: dict[str, tuple[Callable[[], None], int]] = {
    "fork": (fork, 1),
    "audit": (audit, 100),
    "connect": (connect, 1),
}


def measure() -> Mapping[str, float]:
    """Give the median of many, in microseconds."""
    call, number = measures[what]
    took = []
    for _ in range(times):
        began = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - began)
    return {"us": statistics.median(took) / number / 1e3}


answer(measure)
