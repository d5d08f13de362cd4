"""What every task of the demo does, whichever system runs it: put a car into the database."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import taskconn

from .events import VARIABLE, Event
from .sql import INSERT_CAR, INSERT_PARENT

#: Loaded in the parent and not in each of RQ's horses: the demo shows forks, not imports.
_SCHEME = os.environ.get("TASKCONN_URL", "mysql:").partition(":")[0]

_born = time.time()


def _note_birth() -> None:
    global _born  # noqa: PLW0603 - a fact about the process, noted in each
    _born = time.time()


os.register_at_fork(after_in_child=_note_birth)


def insert_car(db: Any, system: str, number: int, *, is_victim: bool = False) -> None:
    """
    Insert one row; committing it is taskconn's.

    Args:
        db: The connection that was leased to the task.
        system: Task system that runs it.
        number: Which task it is.
        is_victim: Wait for a SIGKILL between the INSERT and the end, in the first attempt.
    """
    started = time.time()
    db.cursor().execute(INSERT_CAR[_SCHEME], (system, number, os.getpid()))
    if is_victim:
        _wait_to_be_killed(system, number, started)
    taskconn.after_commit(_send, "done", system, number, started)


def _wait_to_be_killed(system: str, number: int, started: float) -> None:
    try:
        os.close(os.open(f"{os.environ[VARIABLE]}.{system}.victim", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return  # this is the second attempt
    _send("halted", system, number, started)
    signal.pause()
    raise RuntimeError("This attempt was to be killed, and something else woke it up.")


def _send(kind: str, system: str, number: int, started: float) -> None:
    stats = taskconn.stats().get("default", {})
    Event(kind, system, os.getpid(), os.getppid(), _born, started, time.time(), number, stats).send()


class ParentWork:
    """
    Use a connection in the parent before it forks, as a module that reads a table at import does.

    On MariaDB the parent's lease stays open, with an open transaction, across all of the forks, until `end`. On SQLite
    it ends before: there no library can keep such a fork harmless, and taskconn refuses the leases of the children.
    """

    def __init__(self, system: str) -> None:
        started = time.time()
        self._lease = taskconn.lease()
        self._lease.__enter__().cursor().execute(INSERT_PARENT[_SCHEME], (system, os.getpid()))
        if _SCHEME == "sqlite":
            self.end()
        _send("parent", system, 0, started)

    def end(self) -> None:
        """Commit the parent's own transaction, if that is still to be done."""
        if self._lease.is_open:
            self._lease.__exit__(None, None, None)
