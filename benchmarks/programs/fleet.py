"""Many processes that open a connection at the same moment: ``fleet <by> <url> <processes>``."""

from __future__ import annotations

import os
import statistics
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .talk import answer

by, url, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])


def _make_open() -> Callable[[], Any]:
    parts = urlsplit(url)
    if by == "taskconn":
        import taskconn  # noqa: PLC0415 -- that of this run alone

        registry = taskconn.Registry()
        registry.add("default", url, connect_timeout=60)
        registry.check()
        return lambda: taskconn.lease(registry.handle("default")).__enter__()
    if parts.scheme == "mysql":
        import pymysql  # noqa: PLC0415 -- as above

        arguments = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
        return lambda: pymysql.connect(connect_timeout=60, **arguments)
    import psycopg  # noqa: PLC0415 -- as above

    return lambda: psycopg.connect(url)


def measure() -> Mapping[str, float]:
    """Fork all, start them with one event, wait until each has its connection; they leave when all have theirs."""
    start, go = os.pipe()
    report_end, report = os.pipe()
    leave, left = os.pipe()
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if not pid:
            os.close(go)
            os.close(left)
            _be_one(start, report, leave)
        pids.append(pid)
    os.close(report)
    began = time.perf_counter()
    os.close(go)  # the end of their input, for all at once
    taken_ms = [struct.unpack("d", os.read(report_end, 8))[0] for _ in pids]
    whole_s = time.perf_counter() - began
    os.close(left)
    for pid in pids:
        os.waitpid(pid, 0)
    for descriptor in (start, report_end, leave):
        os.close(descriptor)
    failed = sum(taken < 0 for taken in taken_ms)
    if failed:
        raise RuntimeError(f"{failed} of {processes} could not connect")
    ordered = sorted(taken_ms)
    return {"whole_s": whole_s, "p50_ms": statistics.median(ordered), "p99_ms": ordered[int(len(ordered) * 0.99)]}


def _be_one(start: int, report: int, leave: int) -> None:
    os.read(start, 1)
    began = time.perf_counter()
    try:
        connection = open_one()
        taken_ms = (time.perf_counter() - began) * 1e3
    except BaseException as error:  # noqa: BLE001 -- told to the parent, which raises
        print(repr(error), file=sys.stderr)
        taken_ms = -1.0
        connection = None
    os.write(report, struct.pack("d", taken_ms))
    os.read(leave, 1)
    del connection
    os._exit(0)


open_one = _make_open()
answer(measure)
