"""Whether an idle connection may be given to a task: its age, what its socket shows, what the server answers."""

from __future__ import annotations

import enum
from typing import Any

from ._generation import current as generation
from ._pooled import Pooled
from .driver import Driver, Peek
from .options import Options
from .telemetry import Counters

__all__ = ["LOSSES", "Fitness", "examine"]


class Fitness(enum.Enum):
    """What a look at an idle connection shows."""

    FIT = "it may be used"
    EXPIRED = "too old, or idle for too long: to be closed"
    BROKEN = "the server has gone: to be dropped"
    TAINTED = "it has an unread reply: to be dropped"
    SILENT = "the server does not answer: to be dropped, and the other idle ones are not to be asked one by one"
    STRANGE = "another session answers: to be dropped"


#: Losses of a server, or of the way to it: they may have struck the other connections, too.
LOSSES = frozenset({Fitness.BROKEN, Fitness.SILENT})


def examine(pooled: Pooled[Any], driver: Driver[Any], options: Options, now: float, counters: Counters) -> Fitness:
    """Look at a connection that was idle for a while; a round trip is spent after `health_check_interval` only."""
    idle_s = now - pooled.used_at
    is_old = now >= pooled.expires_at or pooled.generation != generation[0]
    if is_old or (options.max_idle is not None and idle_s > options.max_idle):
        return Fitness.EXPIRED
    seen = driver.peek(pooled.connection)
    if seen is not Peek.QUIET:
        return Fitness.TAINTED if seen is Peek.READABLE else Fitness.BROKEN
    if pooled.is_suspect or idle_s > options.health_check_interval:
        counters.health_checks += 1
        fitness = _ask(pooled, driver, options.connect_timeout / 2)  # the other half is left for opening a new one
        if fitness is Fitness.FIT:
            pooled.used_at, pooled.is_suspect = now, False
        return fitness
    return Fitness.FIT


def _ask(pooled: Pooled[Any], driver: Driver[Any], timeout_s: float) -> Fitness:
    """Ask the server for a sign of life, and whether this is still the session that was logged in to."""
    connection = pooled.connection
    if pooled.identity is not None:
        try:
            found = driver.ask_identity(connection, timeout_s)
        except driver.errors:
            return Fitness.SILENT
        if found is not None:  # of what was logged in to last: a client may have connected anew by itself
            return Fitness.FIT if found == driver.identity(connection) else Fitness.STRANGE
    return Fitness.FIT if driver.is_alive(connection, timeout_s) else Fitness.SILENT
