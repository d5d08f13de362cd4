"""A limit that strikes in SQLAlchemy's own code leaves its objects half changed: it gets through, and taints them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..._interrupts import is_interrupt

__all__ = ["unmasked"]

P = ParamSpec("P")
R = TypeVar("R")


def unmasked(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """
    Have *method* of an object with a `guard` raise the interrupt that struck in it, and taint the connection.

    Source:
        Experiment: without it ``flush`` raised ResourceClosedError, ``rollback`` AssertionError, while the interrupt
        was passing, in 1 of 2,000 interrupts; and what had been left half changed raised at the next call.
    """

    @functools.wraps(method)
    def call(self: Any, /, *arguments: P.args, **named: P.kwargs) -> R:
        handled = sys.exc_info()[1]  # an interrupt that the task has caught before is its own affair
        try:
            return method(self, *arguments, **named)
        except BaseException as error:  # noqa: BLE001 -- it is raised again, or what it hides
            first = _first(error, handled)
            if is_interrupt(first):
                self.guard.taint(first)
            raise first  # noqa: B904 -- the error itself, or what it was raised after

    return call


def _first(error: BaseException, handled: BaseException | None) -> BaseException:
    """Give the interrupt during whose handling *error* was raised, not looking beyond *handled*; else *error*."""
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if is_interrupt(seen):
            return seen
        seen = seen.__context__
    return error
