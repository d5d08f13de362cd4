"""Locks of clients that do not tell what they are in the middle of: one that is held says that the client is busy."""

from __future__ import annotations

import threading
import time

from . import _process

__all__ = ["Locks"]

#: Pause between two looks at a lock that is held, in seconds.
_PAUSE_S = 0.001


class Locks:
    """
    Find the locks among a client's attributes that are free while it is at rest, and tell whether they are now.

    Half-read rows may hold one (psycopg's `Cursor.stream`), in the thread that waits for it then: no time limit of the
    client's ends that, nor does a socket that is shut. So nothing that may take it is called while it is held. It is
    looked at, never taken: an interrupt could leave it taken.
    """

    def __init__(self, client: object) -> None:
        kind = type(threading.Lock())  # gevent's or eventlet's, if they have patched it
        attributes = list(getattr(client, "__dict__", {}).values())
        self._locks = [value for value in attributes if isinstance(value, kind) and not value.locked()]

    def are_held(self) -> bool:
        """Tell whether one of them is held at this moment."""
        return any(lock.locked() for lock in self._locks)

    def come_free(self, timeout_s: float) -> bool:
        """Wait until none is held; False if one still is after *timeout_s*, or if nobody is there to free it."""
        until = time.monotonic() + timeout_s
        while self.are_held():
            is_alone = threading.active_count() == 1 and not _process.is_in_greenlet()
            if is_alone or time.monotonic() >= until:
                return False
            time.sleep(_PAUSE_S)
        return True
