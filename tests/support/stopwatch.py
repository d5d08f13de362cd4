"""How long something took, apart from the time that a busy machine kept it waiting for a processor."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


class Stopwatch:
    """
    Measure the thread that made it.

    A promise in seconds is about what the library waits for. Where the machine has more to do than it has processors, a
    thread that could go on stands in the kernel's queue; the kernel counts that time, and it is subtracted here.

    Source:
        Linux, Documentation/scheduler/sched-stats.rst: the second field of /proc/<pid>/schedstat, in nanoseconds.
    """

    def __init__(self) -> None:
        self._started = time.monotonic() - _queued_s()

    def seconds(self) -> float:
        """Give the seconds since it was made, without those in the queue."""
        return time.monotonic() - _queued_s() - self._started


def _queued_s() -> float:
    with contextlib.suppress(OSError):  # a kernel that does not count
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return 0.0
