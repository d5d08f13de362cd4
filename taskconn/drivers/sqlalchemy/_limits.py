"""A limit that strikes in SQLAlchemy's own code leaves its objects half changed: it gets through, and taints them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..._interrupts import heard, is_interrupt

__all__ = ["unmasked"]

P = ParamSpec("P")
R = TypeVar("R")


def unmasked(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """
    Have *method* of an object with a `guard` raise the interrupt that struck in it, and taint the connection.

    After an interrupt it is refused, as everything that asks is: what SQLAlchemy would say of its own state says less.

    Source:
        Experiment: without it ``flush`` raised ResourceClosedError, ``rollback`` AssertionError, while the interrupt
        was passing, in 1 of 2,000 interrupts; and what had been left half changed raised at the next call.
    """

    @functools.wraps(method)
    def call(self: Any, /, *arguments: P.args, **named: P.kwargs) -> R:
        if self.guard.interrupt:
            self.guard.refuse_others()
        try:
            return heard(method, self, *arguments, **named)
        except BaseException as error:
            if is_interrupt(error):
                self.guard.taint(error)
            raise

    return call
