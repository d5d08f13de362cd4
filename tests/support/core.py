"""A registry over the fake driver, and tasks of a task system that does not exist, for tests of the core."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import taskconn
from taskconn import _context, _interrupts
from taskconn._context import TaskContext
from taskconn._pool import Pool
from taskconn.driver import Session, Target
from taskconn.errors import ConnectionFailedError
from taskconn.testing import FakeConnection, FakeDriver, FakeError


@dataclass
class Fake:
    """One alias over a fake driver, in a registry of its own."""

    driver: FakeDriver = field(default_factory=FakeDriver)
    registry: taskconn.Registry = field(default_factory=taskconn.Registry)
    alias: str = "default"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.handle: taskconn.Handle[FakeConnection] = self.registry.add(self.alias, self.driver, **self.options)

    @property
    def pool(self) -> Pool[FakeConnection]:
        return self.registry.pool(self.alias)

    @property
    def opened(self) -> list[FakeConnection]:
        return self.driver.opened

    def lease(self) -> taskconn.Lease[FakeConnection]:
        return taskconn.lease(self.handle)

    def stats(self) -> dict[str, int]:
        return self.registry.stats()[self.alias]

    def beside(self, alias: str, **options: Any) -> Fake:
        """Add another alias to the same registry."""
        return Fake(FakeDriver(), self.registry, alias, options)


def fake(**options: Any) -> Fake:
    """Make a registry with the alias ``default`` over a fake driver."""
    return Fake(options=options)


@contextmanager
def task_system(*interrupts: type[BaseException]) -> Iterator[list[TaskContext]]:
    """Register a task system; the last item of the list is the task that runs."""
    running: list[TaskContext] = []
    previous = _interrupts._kinds
    _context.register(lambda: running[-1] if running else None, interrupts=interrupts)
    source = _context._sources[-1]
    try:
        yield running
    finally:
        _context._sources.remove(source)
        _interrupts._kinds = previous


def use(app: Fake | taskconn.Handle[FakeConnection]) -> FakeConnection:
    """Lease, and give the connection that was leased."""
    with taskconn.lease(app.handle if isinstance(app, Fake) else app) as db:
        return db


def refused(app: Fake) -> ConnectionFailedError:
    """Lease in vain, and give the error."""
    import pytest  # here, for the programs of tests use the rest and need none

    with pytest.raises(ConnectionFailedError, match="autoretry_for") as caught:
        app.lease().begin(None)
    return caught.value


_keys = itertools.count(1)


@contextmanager
def task(running: list[TaskContext], **fields: Any) -> Iterator[None]:
    """Run a task, nested in those that run."""
    key = next(_keys)
    running.append(TaskContext(key, "tests", f"task-{key}", "tests.task", **fields))
    try:
        yield
    finally:
        running.pop()


class App:
    """Stands for the app of a task system."""


def address(registry: taskconn.Registry, alias: str = "default") -> str:
    """Say where the registry connects to."""
    return registry.pool(alias).target().address


class WiredConnection(FakeConnection):
    """A fake connection that says what it is asked over a real socket; the test holds the other end."""

    def __init__(self, number: int, session: Session) -> None:
        super().__init__(number, session)
        self.socket, self.server = socket.socketpair()
        self.server.settimeout(5)

    def _send(self, words: str) -> None:
        super()._send(words)
        self.socket.sendall(f"{words}\n".encode())

    def heard(self) -> str:
        """Read what the server's end has got so far."""
        self.server.setblocking(False)
        try:
            return self.server.recv(65536).decode()
        except BlockingIOError:
            return ""
        finally:
            self.server.settimeout(5)


class WiredDriver(FakeDriver):
    """Open `WiredConnection` objects: what is said of sockets and of forks can be seen."""

    connection_type = WiredConnection
    errors = (FakeError, OSError)

    def open(self, target: Target, timeout_s: float) -> WiredConnection:
        super().open(target, timeout_s)
        connection = WiredConnection(len(self.opened), Session(target.alias, os.getpid()))
        self.opened[-1] = connection
        return connection

    def sockets(self, connection: FakeConnection) -> list[int]:
        assert isinstance(connection, WiredConnection)
        return [connection.socket.fileno()]

    def close(self, connection: FakeConnection, timeout_s: float) -> None:
        assert isinstance(connection, WiredConnection)
        with contextlib.suppress(OSError):
            connection.socket.sendall(b"goodbye\n")
        super().close(connection, timeout_s)
        connection.socket.close()

    def invalidate(self, connection: FakeConnection) -> None:
        assert isinstance(connection, WiredConnection)
        super().invalidate(connection)
        connection.socket.close()
