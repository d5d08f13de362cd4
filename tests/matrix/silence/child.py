"""What a child does with its parent's connection."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

import taskconn
from taskconn.errors import InheritedFileError
from tests.drivers.rows import Row
from tests.matrix.silence.forks import PATIENCE_S

#: Actions after which the child leaves by `os._exit`; the others are followed by the interpreter's whole end.
_QUICK_ENDS = ("close()", "os._exit", "rollback()", "drops an open cursor")


class Held:
    """Hold the only references to a connection and its half-read rows, so that a child can drop them."""

    db: Any = None
    reader: Any = None
    leases = contextlib.ExitStack()

    def enter(self) -> contextlib.ExitStack:
        """Have a lease end with the block, and be held by nothing else."""
        self.leases = contextlib.ExitStack()
        self.db = self.leases.enter_context(taskconn.lease())
        return self.leases


held = Held()


class Child:
    """
    Do *action*, in a process that was forked with what is `held`.

    Attributes:
        pipes: Two ends for each step, by its name.
    """

    def __init__(self, row: Row, action: str, sessions: set[str]) -> None:
        self._row, self._action, self._sessions = row, action, sessions
        self.pipes = {name: os.pipe() for name in ("ready", "go", "done", "end")}

    def run(self) -> None:
        """Say that it is there, do it when it is told to, say what was seen, and end when it is told to."""
        self.say("ready", b"x")
        self.hear("go")
        said = self._act()
        self.say("done", json.dumps(said).encode())
        self.hear("end")
        if self._action in _QUICK_ENDS:
            os._exit(0)
        if self._action == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(0)

    def say(self, step: str, words: bytes) -> None:
        """Write to a step's pipe."""
        os.write(self.pipes[step][1], words)

    def hear(self, step: str) -> bytes:
        """Read from it; nothing if nobody has written in time."""
        fd = self.pipes[step][0]
        return os.read(fd, 65536) if select.select([fd], [], [], PATIENCE_S)[0] else b""

    def close_pipes(self) -> None:
        """Close all of them."""
        for ends in self.pipes.values():
            os.close(ends[0])
            os.close(ends[1])

    def _act(self) -> dict[str, bool]:
        said = {}
        if self._action == "uses it":
            said["use is refused"] = _is_refused(lambda: self._row.write(held.db, "child"))
            said["use is refused"] &= _is_refused(lambda: self._row.values(held.db))
            said["its own lease"] = self._own_lease()
        elif self._action == "close()":
            held.db.close()
        elif self._action == "rollback()":
            _is_refused(held.db.rollback)
        elif self._action == "drops it":
            held.db = held.reader = None
            held.leases.pop_all()  # no frame holds a lease any more
            gc.collect()
        elif self._action == "drops an open cursor":
            held.reader = None
            gc.collect()
        return said

    def _own_lease(self) -> bool:
        try:
            with taskconn.lease() as db:
                found, right = self._row.ask(db, 1)
                is_own = not self._row.has_server or self._row.session_id(db) not in self._sessions
                return bool(found == right and is_own)
        except InheritedFileError:
            return self._row.family == "sqlite"


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception:  # noqa: BLE001 - the library's, or taskconn's
        return True
    return False
