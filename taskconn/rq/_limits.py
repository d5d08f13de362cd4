"""RQ's time limits, noted when they strike: a client library that swallows one is found out."""

from __future__ import annotations

import functools
from typing import Any

from .._interrupts import noting

__all__ = ["noting_penalty"]


@functools.cache
def noting_penalty(penalty: type[Any]) -> type[Any]:
    """
    Derive from a death penalty class one that notes what its handler raises.

    A class without a handler, as RQ's for threads, is left as it is: what another thread throws can't be noted.
    """
    handler = getattr(penalty, "handle_death_penalty", None)
    if handler is None:
        return penalty

    def handle_death_penalty(self: Any, number: int, frame: Any) -> None:
        noting(functools.partial(handler, self))(number, frame)

    return type(penalty.__name__, (penalty,), {"handle_death_penalty": handle_death_penalty})
