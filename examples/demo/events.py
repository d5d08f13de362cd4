"""What the processes tell the demo: one datagram for each event, to a Unix socket. Quick, so that it slows no task."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: Variable that tells the workers where the socket is.
VARIABLE = "DEMO_EVENTS"

#: Longest event, in bytes.
_LONGEST = 65536


@dataclass(frozen=True)
class Event:
    """
    Tell one thing that happened in one process.

    Attributes:
        kind: ``"parent"`` (a parent has used its connection), ``"halted"`` (a task has inserted a row, and waits to be
            killed), ``"done"`` (a task has committed).
        system: Task system of the process.
        pid: The process.
        parent_pid: The one that has forked it.
        born: When it was forked; for a parent, started. Seconds since the epoch, as all times here.
        started: When the task began.
        ended: When it had committed.
        number: The task.
        stats: What `taskconn.stats()` says of the process's connections.
    """

    kind: str
    system: str
    pid: int
    parent_pid: int
    born: float
    started: float
    ended: float
    number: int = 0
    stats: dict[str, int] = field(default_factory=dict)

    def send(self) -> None:
        """Tell the demo, and wait while it has too much to read."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(json.dumps(asdict(self)).encode(), os.environ[VARIABLE])


class Listener:
    """
    Hear what the processes tell.

    Args:
        path: Where to make the socket. Its folder is removed by the caller.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def next(self, timeout_s: float) -> Event | None:
        """Wait for an event; None if there was none for *timeout_s*."""
        self._socket.settimeout(timeout_s)
        try:
            return Event(**json.loads(self._socket.recv(_LONGEST)))
        except TimeoutError:
            return None

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
