"""A worker that waits for a job closes what nobody has used for `max_idle`: RQ's wait ends early where one is due."""

from __future__ import annotations

import math
import time
from typing import Any

from rq.job import Job
from rq.queue import Queue
from rq.worker import BaseWorker

from .._leftovers import close_overdue

__all__ = ["IdlingMixin"]


class IdlingMixin(BaseWorker):
    """
    Give idle connections back to their servers while the worker waits; its horses are not concerned.

    No thread looks, for it would be alive at a fork. RQ's wait for a job is a read that ends by itself after minutes,
    or sooner if it is told when to give up (`max_idle_time`).
    """

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None, *args: Any, **kwargs: Any
    ) -> tuple[Job, Queue] | None:
        """Wait for a job as RQ does, in parts for as long as connections become due; None as RQ has it."""
        wait = super().dequeue_job_and_maintain_ttl
        gives_up_at = math.inf if max_idle_time is None else time.monotonic() + max_idle_time
        while timeout is not None and (due_in_s := close_overdue()) is not None:
            part_s = int(due_in_s) + 1  # whole seconds, and never 0, which Redis takes for "without end"
            if time.monotonic() + part_s >= gives_up_at:
                break
            found = wait(timeout, part_s, *args, **kwargs)
            if found is not None:
                return found
        left_s = None if max_idle_time is None else max(1, math.ceil(gives_up_at - time.monotonic()))
        return wait(timeout, left_s, *args, **kwargs)
