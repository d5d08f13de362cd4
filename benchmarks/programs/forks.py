"""Forks with connections open: ``forks <by> <url> <connections> <forks a round>``; *by* is taskconn or nothing."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pymysql

from .talk import answer

by, url, connections, times = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
kept: list[Any] = []


def open_by_hand() -> None:
    """Open connections that no hook knows of."""
    parts = urlsplit(url)
    arguments = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    kept.extend(pymysql.connect(**arguments) for _ in range(connections))


def open_by_taskconn() -> None:
    """Open connections in one pool, all of them leased once."""
    import taskconn  # noqa: PLC0415 -- its import registers the hooks

    registry = taskconn.Registry()
    registry.add("default", url)
    pool = registry.pool("default")
    pooled = [pool.acquire("bench") for _ in range(connections)]
    for one in pooled:
        pool.give_back(one)
    kept.append(registry)


def measure() -> Mapping[str, float]:
    """Fork, and wait for the child, which ends at once: what the hooks take on both sides is in it."""
    calls, wholes = [], []
    for _ in range(times):
        began = time.perf_counter_ns()
        pid = os.fork()
        if not pid:
            os._exit(0)
        calls.append(time.perf_counter_ns() - began)
        os.waitpid(pid, 0)
        wholes.append(time.perf_counter_ns() - began)
    return {"whole_us": statistics.median(wholes) / 1e3, "call_us": statistics.median(calls) / 1e3}


open_by_taskconn() if by == "taskconn" else open_by_hand()
answer(measure)
