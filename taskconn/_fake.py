"""A driver without a server, for the logic above the drivers; users find it in `taskconn.testing`."""

from __future__ import annotations

from collections.abc import Iterable

from . import _process
from .driver import Driver, Session, Target
from .errors import InheritedConnectionError

__all__ = ["FakeConnection", "FakeDriver", "FakeError"]


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
        self._savepoints: dict[str, int] = {}

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

    def settle(self, verb: str) -> None:
        """Commit or roll back for the lease."""
        (self._commit if verb == "commit" else self._roll_back)()

    def savepoint(self, verb: str, name: str) -> None:
        """Set, release, or roll back to a savepoint."""
        self._send(f"{verb} {name}")
        if verb == "savepoint":
            self._savepoints[name] = len(self._open_work)
        elif verb == "release":
            del self._savepoints[name]
        else:
            del self._open_work[self._savepoints[name] :]

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
    errors = (FakeError,)

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
        connection.settle("commit")

    def rollback(self, connection: FakeConnection, timeout_s: float) -> None:
        """Roll back for the lease."""
        connection.settle("rollback")

    def savepoint(self, connection: FakeConnection, name: str) -> None:
        """Take the savepoint down."""
        connection.savepoint("savepoint", name)

    def release(self, connection: FakeConnection, name: str) -> None:
        """Take the release down."""
        connection.savepoint("release", name)

    def rollback_to(self, connection: FakeConnection, name: str) -> None:
        """Undo what the connection was told since."""
        connection.savepoint("rollback to", name)

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
