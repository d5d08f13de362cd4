"""Drive what psycopg has to say and hear until a deadline: its own loops wait for whole seconds, or for ever."""

from __future__ import annotations

import selectors
import time
from collections.abc import Generator
from typing import Any

import psycopg

__all__ = ["NoAnswerError", "drive"]


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time."""


def drive(steps: Generator[Any, Any, Any], deadline: float, descriptor: int | None = None) -> Any:
    """
    Run *steps* to their end, and wait for the socket between them.

    Args:
        steps: A generator of psycopg's: it yields what it waits for, and is sent what has come.
        deadline: Monotonic time, in seconds.
        descriptor: The socket; None while connecting, when the steps name it themselves.

    Returns:
        What *steps* return.

    Raises:
        NoAnswerError: The deadline passed first.
    """
    try:
        fd, wanted = _asked(next(steps), descriptor)
        with selectors.DefaultSelector() as selector:
            selector.register(fd, wanted)
            while True:
                left_s = deadline - time.monotonic()
                ready = selector.select(max(0.0, left_s))
                if not ready:
                    if left_s > 0:
                        continue
                    raise NoAnswerError("the server did not answer in time")
                last, (fd, wanted) = (fd, wanted), _asked(steps.send(ready[0][1]), descriptor)
                if last != (fd, wanted):
                    selector.unregister(last[0])
                    selector.register(fd, wanted)
    except StopIteration as end:
        return end.value


def _asked(wish: Any, descriptor: int | None) -> tuple[int, int]:
    """Tell what a step waits for: psycopg's numbers for reading and writing are those of `selectors`."""
    fd, wanted = wish if descriptor is None else (descriptor, wish)
    return fd, int(wanted)
