"""Fewer round trips to Redis for each job: what RQ writes several times in a row is written once, together."""

from __future__ import annotations

import math
import time
from typing import Any

from rq.worker import BaseWorker, WorkerStatus

__all__ = ["ThriftyMixin"]

#: A heartbeat, or a state, that was written so many seconds ago is not written again. RQ's live for 60 at the least.
_FRESH_S = 1.0


class ThriftyMixin(BaseWorker):
    """
    Write the worker's heartbeat and state as RQ does, in fewer round trips.

    Between two jobs rq 3.0.0 writes four heartbeats, three of them in three round trips, and twice that it is idle.
    Here a heartbeat is one round trip, goes along with the state where one is written, and is left out if the last one
    of the same time to live is less than a second old. That makes 5 round trips of the worker's 15 for each job.
    """

    _beat_at = -math.inf
    _beat_timeout: int | None = None
    _state_at = -math.inf

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that the worker lives, for *timeout* seconds, unless that was just said."""
        now = time.monotonic()
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif timeout == self._beat_timeout and now - self._beat_at < _FRESH_S:
            return
        else:
            with self.connection.pipeline(transaction=False) as own:
                super().heartbeat(timeout, own)
                own.execute()
        self._beat_at, self._beat_timeout = now, timeout

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Write the worker's state; with it a heartbeat, which RQ sends next, if it is idle now."""
        now = time.monotonic()
        if pipeline is not None or state != WorkerStatus.IDLE:
            super().set_state(state, pipeline)
        elif self._state == state and now - self._state_at < _FRESH_S:
            return
        else:
            # What the job's process has written for the time of the job lives shorter than what is due now.
            with self.connection.pipeline(transaction=False) as own:
                super().set_state(state, own)
                self.heartbeat(pipeline=own)
                own.execute()
        self._state_at = now
