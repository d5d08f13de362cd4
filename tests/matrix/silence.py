"""
A parent that forks with live connections, and children that do their worst: one program per driver, way and fork.

``python -m tests.matrix.silence ROW URL FORK CONTROL COMBINATIONS`` prints a line of JSON per combination: what held.
With ``orphans`` for the combinations it prints its sessions and a child, and waits to be killed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import taskconn
from taskconn.errors import InheritedFileError
from tests.drivers.rows import Row
from tests.matrix.families import FAMILIES, Family
from tests.matrix.rows import ROWS

FORKS = ("os.fork", "multiprocessing", "billiard")
STATES = ("idle", "in a transaction", "in a query in another thread", "lease held")
ACTIONS = (
    "uses it",
    "close()",
    "drops it",
    "sys.exit",
    "os._exit",
    "SIGKILL",
    "rollback()",
    "drops an open cursor",
)

#: Actions after which the child leaves by `os._exit`; the others are followed by the interpreter's whole end.
_QUICK_ENDS = ("close()", "os._exit", "rollback()", "drops an open cursor")

#: What a child calls on its parent's connection.
_BY_HAND = ("uses it", "close()", "rollback()")

#: Longest wait for a child, in seconds.
_PATIENCE_S = 60.0


def combinations(row: Row, family: Family) -> list[tuple[str, str, str]]:
    """List state, action, and why it can't be had ("" if it can)."""
    return [(state, action, _why_not(row, family, state, action)) for state in STATES for action in ACTIONS]


def _why_not(row: Row, family: Family, state: str, action: str) -> str:
    if action == "drops an open cursor":
        if state == "idle":
            return "an idle connection has no open cursor: the reply was read, or the connection dropped, at give-back"
        if state.startswith("in a query") and not row.asks_while_reading:
            return "the library runs no query while rows of another one are unread"
    if row.is_bare and state.startswith("in a query") and action in _BY_HAND:
        return "it is the client itself, unguarded, whose own lock the parent's thread held at the fork: the call waits"
    return family.impossible.get(action, "")


class Outside:
    """Ask the family where the server is, over a Unix socket; several threads may."""

    def __init__(self, path: str) -> None:
        self._turn = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._file = self._socket.makefile("rw")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            with self._turn:
                print(json.dumps([name, *arguments]), file=self._file, flush=True)
                answer = json.loads(self._file.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer["value"]

        return ask


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
        deadline = time.monotonic() + _PATIENCE_S
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
        pipes = {name: os.pipe() for name in ("ready", "go", "done", "end")}
        child = _start(self.fork, lambda: self._be_child(pipes))
        try:
            heard = _read(pipes["ready"][0])
            if self.row.has_server:
                left = mine & set(_inodes(child.pid))
                self.facts["no descriptor"] = bool(mine) and not left
            os.write(pipes["go"][1], b"x")
            said = json.loads(_read(pipes["done"][0]) or b"{}")
            os.write(pipes["end"][1], b"x")
            self.facts["child in time"] = bool(heard) and child.wait() == (-9 if self.action == "SIGKILL" else 0)
            self.facts |= said
        finally:
            child.kill()
            for ends in pipes.values():
                os.close(ends[0])
                os.close(ends[1])
        if self.row.has_server:
            self.facts["live sessions"] = all(map(self.outside.has_session, self.sessions))
            self.facts["silence"] = self.outside.sent()[: len(before)] == before

    def _be_child(self, pipes: dict[str, tuple[int, int]]) -> None:
        os.write(pipes["ready"][1], b"x")
        _read(pipes["go"][0])
        said = {}
        if self.action == "uses it":
            said["use is refused"] = _is_refused(lambda: self.row.write(held.db, "child"))
            said["use is refused"] &= _is_refused(lambda: self.row.values(held.db))
            said["its own lease"] = self._own_lease()
        elif self.action == "close()":
            held.db.close()
        elif self.action == "rollback()":
            _is_refused(held.db.rollback)
        elif self.action == "drops it":
            held.db = held.reader = None
            held.leases.pop_all()  # no frame holds a lease any more
            gc.collect()
        elif self.action == "drops an open cursor":
            held.reader = None
            gc.collect()
        os.write(pipes["done"][1], json.dumps(said).encode())
        _read(pipes["end"][0])
        if self.action in _QUICK_ENDS:
            os._exit(0)
        if self.action == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(0)

    def _own_lease(self) -> bool:
        try:
            with taskconn.lease() as db:
                found, right = self.row.ask(db, 1)
                is_own = not self.row.has_server or self.row.session_id(db) not in self.sessions
                return bool(found == right and is_own)
        except InheritedFileError:
            return self.row.family == "sqlite"


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception:  # noqa: BLE001 - the library's, or taskconn's
        return True
    return False


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


def _read(fd: int) -> bytes:
    return os.read(fd, 65536) if select.select([fd], [], [], _PATIENCE_S)[0] else b""


class _Forked:
    """A child by `os.fork`, with the face of multiprocessing's."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            run()

    def wait(self) -> int | None:
        deadline = time.monotonic() + _PATIENCE_S
        while self._code is None and time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.001)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


class _Process:
    """A child by multiprocessing or billiard."""

    def __init__(self, module: Any, run: Callable[[], None]) -> None:
        self._process = module.get_context("fork").Process(target=run)
        self._process.start()
        self.pid = self._process.pid

    def wait(self) -> int | None:
        self._process.join(_PATIENCE_S)
        code: int | None = self._process.exitcode
        return code

    def kill(self) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, signal.SIGKILL)
            self._process.join()


def _start(fork: str, run: Callable[[], None]) -> Any:
    if fork == "os.fork":
        return _Forked(run)
    return _Process(__import__(fork), run)


def _be_killed(parent: Parent) -> None:
    """Hold sessions in every state, fork a child that lives on, and wait for SIGKILL."""
    row, family = parent.row, parent.family
    sessions = {}
    asking, ready = threading.Event(), threading.Semaphore(0)

    def hold(is_used: bool) -> None:
        with taskconn.lease() as db:
            sessions["in a transaction" if is_used else "lease held"] = row.session_id(db)
            if is_used:
                row.write(db, "orphan")
            ready.release()
            threading.Event().wait()

    def ask() -> None:
        with taskconn.lease() as db:
            sessions["in a query in another thread"] = row.session_id(db)
            asking.set()
            family.block(row, db)

    parent.outside.hold()
    threading.Thread(target=ask, daemon=True).start()
    assert asking.wait(_PATIENCE_S)
    while not parent.outside.is_blocked():
        time.sleep(0.001)
    for is_used in (True, False):
        threading.Thread(target=hold, args=(is_used,), daemon=True).start()
        assert ready.acquire(timeout=_PATIENCE_S)
    with taskconn.lease() as db:
        sessions["idle"] = row.session_id(db)
    child = _start(parent.fork, threading.Event().wait)  # type: ignore[arg-type]
    print(json.dumps({"sessions": sessions, "child": child.pid}), flush=True)
    threading.Event().wait()


def main(name: str, url: str, fork: str, control: str, wanted: str) -> None:
    """Run the combinations, or wait to be killed."""
    row = ROWS[name]
    family = FAMILIES[row.family]()
    outside: Any = Outside(control) if row.has_server else family
    taskconn.configure({"default": {"url": url, **row.options}})
    parent = Parent(row, family, outside, fork)
    with taskconn.lease() as db:
        row.prepare(db)
    del db
    if wanted == "orphans":
        _be_killed(parent)
        return
    gc.freeze()  # a child's end is not about what was imported
    for state, action in json.loads(wanted):
        started = time.monotonic()
        facts = parent.run(state, action)
        seconds = time.monotonic() - started
        os.write(1, f"{json.dumps({'state': state, 'action': action, 'facts': facts, 's': seconds})}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
