"""
Mend `time.sleep` in a worker whose clock libfaketime sets; on the path of such workers alone.

Since Python 3.11 it sleeps by ``clock_nanosleep`` until a monotonic time, for which libfaketime 0.9.10 answers EINVAL.
"""

from __future__ import annotations

import select
import time

try:
    time.sleep(1e-6)
except OSError:

    def _sleep(seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        select.select([], [], [], seconds)

    time.sleep = _sleep
