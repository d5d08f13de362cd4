"""What the parent does: it brings a connection into a state, forks, and looks at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import taskconn
from tests.drivers.rows import Row
from tests.matrix.families import Family
from tests.matrix.silence.child import Child, held
from tests.matrix.silence.forks import PATIENCE_S, start


class Parent:
    """Bring a connection into a state, fork, and look at what is left."""

    def __init__(self, row: Row, family: Family, outside: Any, fork: str) -> None:
        self.row, self.family, self.outside, self.fork = row, family, outside, fork
        self.facts: dict[str, bool] = {}
        self.action = ""
        self.value = ""
        self._pid = os.getpid()

    def run(self, state: str, action: str) -> dict[str, bool]:
        """Run one combination; its facts by name."""
        self.action, self.value, self.facts = action, f"{state}, {action}", {}
        self.sessions: set[str] = set()
        self._has_closed_one = False
        {
            "idle": self._idle,
            "in a transaction": self._transaction,
            "in a query in another thread": self._query,
            "lease held": self._lease,
        }[state]()
        held.db = held.reader = None
        self.facts["committed"] = bool(self.outside.is_committed(self.value))
        return self.facts

    # -- states ----------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        with taskconn.lease() as held.db:
            self.row.values(held.db)
        self._let_loose()
        with taskconn.lease() as db:
            self._look(db, self.family.begin(self.row, db, self.value, self.outside))

    def _transaction(self) -> None:
        with held.enter():
            begun = self.family.begin(self.row, held.db, self.value, self.outside)
            self._open_reader()
            self._let_loose()
            self._read_on()
            self._look(held.db, begun)

    def _lease(self) -> None:
        with held.enter():
            self._open_reader()
            self._let_loose()
            self._read_on()
            self._look(held.db, self.family.begin(self.row, held.db, self.value, self.outside))

    def _query(self) -> None:
        thread = threading.Thread(target=self._ask_and_wait)
        self.outside.hold()
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not self.outside.is_blocked():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        try:
            self._let_loose()
        finally:
            if os.getpid() == self._pid:  # a child that exits comes this way too
                self.outside.release()
                thread.join()

    def _ask_and_wait(self) -> None:
        with held.enter():
            begun = self.family.begin(self.row, held.db, self.value, self.outside)
            self._open_reader()
            self.facts["its answer in flight"] = self.family.block(self.row, held.db)
            self._read_on()
            self._look(held.db, begun)

    def _open_reader(self) -> None:
        if self.action == "drops an open cursor":
            held.reader = self.row.half_read(held.db)
            if self.row.asks_while_reading and self.row.has_server:
                self.row.session_id(held.db)  # by now every connection of a client with several is there

    # -- what is left ----------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        if held.reader is not None:
            rest = self.row.rest(held.reader)
            self.facts["unread rows"] = rest is None or rest == list(range(2, 20001))
            held.reader = None
            self._has_closed_one = self.row.family == "redis"  # a subscription that is dropped ends its session

    def _look(self, db: Any, begun: Any) -> None:
        facts = self.facts
        facts["transaction"] = self.family.is_intact(self.row, db, begun, self.value)
        answers = [self.row.ask(db, number) for number in (0, 1)]  # those that settle nothing
        facts["next answer"] = all(found == right for found, right in answers)
        if self.row.has_server and not self._has_closed_one:
            facts["same session"] = self.row.session_id(db) in self.sessions

    # -- the child -------------------------------------------------------------------------------------------

    def _let_loose(self) -> None:
        """Fork, have the child do what it is to do, and wait for its end."""
        for member in _members():
            self.sessions |= self.row.session_ids(member.connection) | ({member.identity} - {None})
        mine = set(_inodes(os.getpid(), [fd for member in _members() for fd in _driver().sockets(member.connection)]))
        before = self.outside.sent() if self.row.has_server else []
        child = Child(self.row, self.action, self.sessions)
        process = start(self.fork, child.run)
        try:
            heard = child.hear("ready")
            if self.row.has_server:
                left = mine & set(_inodes(process.pid))
                self.facts["no descriptor"] = bool(mine) and not left
            child.say("go", b"x")
            said = json.loads(child.hear("done") or b"{}")
            child.say("end", b"x")
            self.facts["child in time"] = bool(heard) and process.wait() == (-9 if self.action == "SIGKILL" else 0)
            self.facts |= said
        finally:
            process.kill()
            child.close_pipes()
        if self.row.has_server:
            self.facts["live sessions"] = all(map(self.outside.has_session, self.sessions))
            self.facts["silence"] = self.outside.sent()[: len(before)] == before


def _driver() -> Any:
    return _pool().driver


def _pool() -> Any:
    from taskconn._context import find_pool

    return find_pool("default", None)


def _members() -> list[Any]:
    members: list[Any] = _pool().members()
    return members


def _inodes(pid: int, descriptors: list[int] | None = None) -> Iterator[str]:
    """Name what is behind the descriptors of a process, all of them or some, as the kernel does."""
    folder = Path(f"/proc/{pid}/fd")
    for path in folder.iterdir() if descriptors is None else [folder / str(fd) for fd in descriptors]:
        with contextlib.suppress(OSError):
            yield str(path.readlink())
