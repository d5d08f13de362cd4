"""RQ's time limits, noted when they strike: a client library that swallows one is found out."""

from __future__ import annotations

import functools
from typing import Any

from rq.timeouts import UnixSignalDeathPenalty

from .._interrupts import noting

__all__ = ["noting_penalty"]


class _Noting:
    """Mark the classes that `noting_penalty` has made."""


@functools.cache
def noting_penalty(penalty: type[Any]) -> type[Any]:
    """
    Derive from a death penalty class one that notes what its handler raises.

    One that works by another means than a signal, as RQ's for threads, is left as it is: what another thread throws
    can't be noted. So is one that was derived here: a process runs many jobs.
    """
    if not issubclass(penalty, UnixSignalDeathPenalty) or issubclass(penalty, _Noting):
        return penalty
    handler: Any = penalty.handle_death_penalty

    def handle_death_penalty(self: Any, number: int, frame: Any) -> None:
        noting(functools.partial(handler, self))(number, frame)

    return type(penalty.__name__, (_Noting, penalty), {"handle_death_penalty": handle_death_penalty})
