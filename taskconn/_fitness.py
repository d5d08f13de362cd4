"""Whether an idle connection may be given to a task: its age, what its socket shows, what the server answers."""

from __future__ import annotations

import enum
from typing import Any

from ._pooled import Pooled
from .driver import Driver, Peek
from .options import Options
from .telemetry import Counters

__all__ = ["Fitness", "examine"]


class Fitness(enum.Enum):
    """What a look at an idle connection shows."""

    FIT = "it may be used"
    EXPIRED = "too old, or idle for too long: to be closed"
    BROKEN = "the server has gone: to be dropped"
    TAINTED = "it has an unread reply: to be dropped"


def examine(pooled: Pooled[Any], driver: Driver[Any], options: Options, now: float, counters: Counters) -> Fitness:
    """Look at a connection that was idle for a while; a round trip is spent after `health_check_interval` only."""
    idle_s = now - pooled.used_at
    if now >= pooled.expires_at or (options.max_idle is not None and idle_s > options.max_idle):
        return Fitness.EXPIRED
    seen = driver.peek(pooled.connection)
    if seen is not Peek.QUIET:
        return Fitness.TAINTED if seen is Peek.READABLE else Fitness.BROKEN
    if idle_s > options.health_check_interval:
        counters.health_checks += 1
        if not driver.is_alive(pooled.connection, options.connect_timeout):
            return Fitness.BROKEN
    return Fitness.FIT
