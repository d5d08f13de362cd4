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
from ._context import find_pool
from ._fake import FakeConnection, FakeDriver, FakeError
from ._pool import Pool
from ._registry import Handle
from ._registry import override as _override
from ._sandbox import open_sandbox
from .driver import Driver, Session, Target
from .options import Options

__all__ = ["FakeConnection", "FakeDriver", "FakeError", "in_forked_child", "override", "sandbox"]

T = TypeVar("T")


class _Given(Driver[Any]):
    """Hand out one connection that the test made, and leave everything about it to the test."""

    package = "taskconn"
    transactional = False
    errors = ()

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

    has_savepoints = True  # so that code with `savepoint` can be tested; nothing is undone
    is_stand_in = True

    def savepoint(self, connection: Any, name: str) -> None: ...

    def release(self, connection: Any, name: str) -> None: ...

    def rollback_to(self, connection: Any, name: str) -> None: ...

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
    ``after_commit`` callbacks run when their outermost lease ends, though nothing is committed. For the thread that
    opened it; ``commit()``, ``rollback()`` and ``close()`` by hand are refused. Statements that commit by themselves
    (DDL in MySQL) can't be rolled back.

    Args:
        alias: Name or handle of the connection.

    Yields:
        The connection.

    Raises:
        InvalidSettingsError: The client has no transactions, or the alias has ``transaction="none"``.
    """
    with open_sandbox(find_pool(alias, None)) as connection:
        yield connection


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
