"""For users' tests: a fake driver, connections put in an alias's place, a sandbox that is rolled back, real forks."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from . import _process
from ._lease import Lease, find_pool
from ._pool import Pool
from ._registry import Handle, override as _override
from .driver import Driver, Session, Target
from .errors import InheritedConnectionError
from .options import Options

__all__ = ["FakeConnection", "FakeDriver", "FakeError", "in_forked_child", "override", "sandbox"]

T = TypeVar("T")


class FakeError(Exception):
    """What a fake connection raises where a real one would raise its library's error."""


class FakeConnection:
    """
    Stand for a connection: it keeps a list of what was asked of it.

    Attributes:
        calls: What was sent, in order: ``"INSERT ..."``, ``"commit"``, ``"rollback"``, ``"ping"``, ``"close"``.
        committed: Statements that a commit made durable.
        fails_on: Words that raise `FakeError` when they are sent.
    """

    def __init__(self, number: int, session: Session) -> None:
        self.number = number
        self.taskconn_session = session
        self.calls: list[str] = []
        self.committed: list[str] = []
        self.fails_on: set[str] = set()
        self.is_open = True
        self.is_alive = True
        self._open_work: list[str] = []

    def __repr__(self) -> str:
        return f"<FakeConnection {self.number} of process {self.taskconn_session.owner_pid}>"

    def execute(self, statement: str) -> str:
        """Take *statement* down, and give it back."""
        self._send(statement)
        self.taskconn_session.sent += 1
        self._open_work.append(statement)
        return statement

    def commit(self) -> None:
        """Commit by hand."""
        self._by_hand("commit")
        self._commit()

    def rollback(self) -> None:
        """Roll back by hand."""
        self._by_hand("rollback")
        self._roll_back()

    def close(self) -> None:
        """Close by hand."""
        self._by_hand("close")
        self.taskconn_session.closed_by_hand = True
        self.is_open = False

    def _by_hand(self, verb: str) -> None:
        if self.taskconn_session.refusal is not None:
            self.taskconn_session.refusal(verb)

    def _commit(self) -> None:
        self._send("commit")
        self.committed += self._open_work
        self._open_work.clear()
        self.taskconn_session.sent = 0

    def _roll_back(self) -> None:
        self._send("rollback")
        self._open_work.clear()
        self.taskconn_session.sent = 0

    def _send(self, words: str) -> None:
        session, pid = self.taskconn_session, _process.getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)
        if not self.is_open:
            raise FakeError("connection is closed")
        if words in self.fails_on:
            raise FakeError(f"{words!r} was told to fail")
        self.calls.append(words)


class FakeDriver(Driver[FakeConnection]):
    """
    Open `FakeConnection` objects. For the logic above the drivers, and for that alone: it has no server.

    Attributes:
        opened: Every connection that was opened in this process and its ancestors, in order.
        is_refusing: Opening raises `FakeError`.
    """

    package = "taskconn"
    connection_type = FakeConnection
    errors = (FakeError,)  # type: ignore[assignment]  # a constant is a fine property

    def __init__(self) -> None:
        self.opened: list[FakeConnection] = []
        self.is_refusing = False

    def open(self, target: Target, timeout_s: float) -> FakeConnection:
        """Open one, or raise `FakeError` if told so."""
        if self.is_refusing:
            raise FakeError("the fake server refuses")
        connection = FakeConnection(len(self.opened) + 1, Session(target.alias, _process.getpid()))
        self.opened.append(connection)
        return connection

    def session(self, connection: FakeConnection) -> Session:
        """Give the connection's session."""
        return connection.taskconn_session

    def sockets(self, connection: FakeConnection) -> Iterable[int]:
        """There are none."""
        return ()

    def identity(self, connection: FakeConnection) -> str:
        """Give the connection's number."""
        return str(connection.number)

    def is_open(self, connection: FakeConnection) -> bool:
        """Tell whether it was closed."""
        return connection.is_open

    def is_alive(self, connection: FakeConnection, timeout_s: float) -> bool:
        """Take the ping down."""
        connection.calls.append("ping")
        return connection.is_alive

    def commit(self, connection: FakeConnection, timeout_s: float) -> None:
        """Commit for the lease."""
        connection._commit()

    def rollback(self, connection: FakeConnection, timeout_s: float) -> None:
        """Roll back for the lease."""
        connection._roll_back()

    def reset(self, connection: FakeConnection, timeout_s: float) -> None:
        """Take the reset down."""
        connection.calls.append("reset")

    def close(self, connection: FakeConnection, timeout_s: float) -> None:
        """Take the goodbye down."""
        connection.calls.append("close")
        connection.is_open = False

    def invalidate(self, connection: FakeConnection) -> None:
        """Close without a goodbye."""
        connection.is_open = False


class _Given(Driver[Any]):
    """Hand out one connection that the test made, and leave everything about it to the test."""

    package = "taskconn"
    transactional = False
    errors = ()  # type: ignore[assignment]  # a constant is a fine property

    def __init__(self, connection: Any, alias: str) -> None:
        self._connection = connection
        self._session = Session(alias, _process.getpid())
        self.connection_type = type(connection)  # type: ignore[misc]  # of this one instance

    def open(self, target: Target, timeout_s: float) -> Any:
        return self._connection

    def session(self, connection: Any) -> Session:
        return self._session

    def sockets(self, connection: Any) -> Iterable[int]:
        return ()

    def is_alive(self, connection: Any, timeout_s: float) -> bool:
        return True

    def close(self, connection: Any, timeout_s: float) -> None: ...

    def invalidate(self, connection: Any) -> None: ...


@contextmanager
def override(alias: str | Handle[Any], connection: T) -> Iterator[T]:
    """
    Let every lease and proxy of *alias* have *connection*, whatever is configured. It is never settled nor closed.

    Args:
        alias: Name or handle of the connection.
        connection: Any object.
    """
    name = alias.alias if isinstance(alias, Handle) else alias
    pool: Pool[Any] = Pool(name, _Given(connection, name), lambda: Target(name, "given"), Options(max_age=None))
    previous = _override(name, pool)
    try:
        yield connection
    finally:
        _override(name, previous)


@contextmanager
def sandbox(alias: str | Handle[Any] = "default") -> Iterator[Any]:
    """
    Lease *alias* for a test, let every lease and task inside join it, and roll all back at the end.

    Nested tasks (``task.apply()``, eager ones) join too; the work of one that fails is undone alone, by a savepoint.
    ``after_commit`` callbacks run when their outermost lease ends, though nothing is committed. One thread only.

    Returns:
        The connection.
    """
    pool = find_pool(alias, None)
    lease: Lease[Any] = Lease(alias, "sandbox")
    connection = lease.begin(None)
    pool.sandbox = lease
    try:
        yield connection
    finally:
        pool.sandbox = None
        lease.fail(_SandboxEnd())


class _SandboxEnd(Exception):
    """End a sandbox: everything in it is rolled back."""


def in_forked_child(function: Callable[[], T]) -> T:
    """
    Run *function* in a child made by a real ``os.fork()``, and give what it returned.

    The child leaves by ``os._exit``; what it returns or raises has to survive pickle.

    Raises:
        BaseException: What the function raised in the child.
        RuntimeError: The child died without an answer.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover -- the child is measured by what it answers
        _answer(function, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not answer:
        raise RuntimeError(f"The forked child {pid} died without an answer (status {status}).")
    is_ok, value = pickle.loads(answer)  # noqa: S301 -- written by our own child
    if is_ok:
        return value  # type: ignore[no-any-return]  # it is what the function returned
    raise value


def _answer(function: Callable[[], Any], writer: int) -> None:  # pragma: no cover -- runs in the child
    try:
        try:
            answer = pickle.dumps((True, function()))
        except BaseException as exception:  # noqa: BLE001 -- handed to the parent
            traceback.print_exc()
            answer = pickle.dumps((False, exception))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
