"""Drive what psycopg has to say and hear until a deadline: its own loops wait for whole seconds, or for ever."""

from __future__ import annotations

import math
import select
import selectors
import time
from collections.abc import Generator
from typing import Any

import psycopg

from ..._sockets import Lookout

__all__ = ["NoAnswerError", "drive"]

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_WORDS = "the server did not answer in time"


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time."""


def drive(
    steps: Generator[Any, Any, Any], deadline: float, descriptor: int | None = None, lookout: Lookout | None = None
) -> Any:
    """
    Run *steps* to their end, and wait for the socket between them.

    Args:
        steps: A generator of psycopg's: it yields what it waits for, and is sent what has come.
        deadline: Monotonic time, in seconds.
        descriptor: The socket; None while connecting, when the steps name it themselves.
        lookout: What waits until it may be read, if somebody keeps one.

    Returns:
        What *steps* return.

    Raises:
        NoAnswerError: The deadline passed first.
    """
    try:
        wish = next(steps)
        while True:
            if wish == _READ and lookout is not None and descriptor is not None:
                if not lookout.wait(descriptor, deadline - time.monotonic()):
                    raise NoAnswerError(_WORDS)
                wish = steps.send(_READ)
            else:
                fd, wanted = _asked(wish, descriptor)
                wish = steps.send(_wait(fd, wanted, deadline))
    except StopIteration as end:
        return end.value


def _wait(fd: int, wanted: int, deadline: float) -> int:
    """Wait until the socket may be read or written, as *wanted* says; tell which. `NoAnswerError` if it may not."""
    while True:
        left_s = deadline - time.monotonic()
        ready = _look(fd, wanted, max(0.0, left_s))
        if ready:
            return ready
        if left_s <= 0:
            raise NoAnswerError(_WORDS)


def _look(fd: int, wanted: int, timeout_s: float) -> int:
    # A poll object costs a fifth of a selector, which is an epoll with a descriptor of its own. Looked for each time:
    # gevent puts its own in the place of this one, eventlet takes it away.
    if not hasattr(select, "poll"):
        with selectors.DefaultSelector() as selector:
            selector.register(fd, wanted)
            found = selector.select(timeout_s)
            return found[0][1] if found else 0
    poller = select.poll()
    poller.register(fd, (select.POLLIN if wanted & _READ else 0) | (select.POLLOUT if wanted & _WRITE else 0))
    for _, events in poller.poll(math.ceil(timeout_s * 1000)):
        # An error or a hang-up counts for both, as in `selectors`: psycopg finds out by reading or writing.
        reads, writes = events & ~select.POLLOUT, events & ~select.POLLIN
        return wanted & ((_READ if reads else 0) | (_WRITE if writes else 0))
    return 0


def _asked(wish: Any, descriptor: int | None) -> tuple[int, int]:
    """Tell what a step waits for: psycopg's numbers for reading and writing are those of `selectors`."""
    fd, wanted = wish if descriptor is None else (descriptor, wish)
    return fd, int(wanted)
