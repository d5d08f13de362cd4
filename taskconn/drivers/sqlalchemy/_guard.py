"""The guard of one DBAPI connection under SQLAlchemy: it knows its process, what is in flight, what interrupted it."""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect

from ..._descriptors import TimeLimit, present, shut
from ..._interrupts import errors_ignored, heard
from ..._process import Socket, getpid
from ..._server_errors import hear_limit
from ...driver import Session
from ...errors import InheritedConnectionError, TaintedConnectionError
from ._libraries import Library
from ._wholeness import note_halves, refuse_halves

__all__ = ["Guard", "immortalise"]


def immortalise(kept: object) -> None:
    """Keep an inherited object for ever: some speak, some wait for a lock that nobody holds when they are collected."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


#: What a server answers with the id of the session, by SQLAlchemy's name of the dialect.
_QUESTIONS = {
    "mariadb": "SELECT CONNECTION_ID()",
    "mysql": "SELECT CONNECTION_ID()",
    "postgresql": "SELECT pg_backend_pid()",
}


class Guard(Session):
    """
    Count what is sent over one DBAPI connection, and cut it when anything but the library's error interrupts it.

    SQLAlchemy invalidates a connection for exceptions that are no `Exception`; limits are. Without the cut it closes
    the cursor, which waits for the interrupted statement, and rolls back, which may read another statement's reply.

    Attributes:
        raw: The DBAPI's own connection.
        is_closed: It was closed, or cut.
        is_shut: Its sockets were shut at the end of a time limit.
        is_dirty: Something was sent since the last COMMIT or ROLLBACK.
        is_settling: The lease settles, not the task.
        is_touched: The task may have changed autocommit or isolation level by the DBAPI's own means.
        has_unsent: Tells whether an ORM session holds changes that were not sent yet.
        counts_for: A client with several connections, which counts too.
    """

    __slots__ = (
        "__weakref__",
        "_count",
        "_cursors",
        "_dialect",
        "_errors",
        "_library",
        "_sockets",
        "counts_for",
        "has_unsent",
        "is_closed",
        "is_dirty",
        "is_settling",
        "is_shut",
        "is_touched",
        "raw",
    )

    def __init__(self, alias: str, raw: Any, dialect: Dialect, library: Library) -> None:
        self.has_unsent: Callable[[], bool] | None = None
        super().__init__(alias, getpid())
        self.raw = raw
        self.is_closed = self.is_shut = self.is_dirty = self.is_settling = self.is_touched = False
        self.counts_for: Session | None = None
        self._dialect = dialect
        self._library = library
        self._errors: type[BaseException] = dialect.loaded_dbapi.Error
        self._cursors: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sockets: list[Socket] = []

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # an interrupt in the constructor
            if self.owner_pid != getpid():
                immortalise(self.raw)

    @property
    def sent(self) -> int:
        """Statements sent since the lease began; and one for what an ORM session has not sent yet."""
        return self._count + (self.has_unsent is not None and self.has_unsent())

    @sent.setter
    def sent(self, count: int) -> None:
        self._count = count

    # -- what the task does ------------------------------------------------------------------------------

    def exchange(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """
        Mark a reply as pending for as long as *call* has not read it whole.

        Raises:
            InheritedConnectionError: Another process opened this connection. Nothing has been sent.
            TaintedConnectionError: An exchange was interrupted before. Nothing has been sent.
        """
        self.refuse_others()
        was_pending, was_open = self.pending, self._library.in_transaction(self.raw)
        self.pending = True
        try:
            returned = heard(call, *arguments, **named)
            self.pending = was_pending
        except self._errors as error:
            is_lost = self._dialect.is_disconnect(error, self.raw, None)  # type: ignore[arg-type]  # a DBAPI error
            if not (is_lost or self._library.is_loss(error)):
                self.pending = was_pending
                note_halves(self, error, was_open=bool(was_open), is_open=self._library.in_transaction(self.raw))
            if self.deadline is not None:
                hear_limit(self.deadline, error)
            raise
        except BaseException as interrupt:
            self.taint(interrupt)
            raise
        return returned

    def statement(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Count a statement, and run it."""
        self.refuse_others()
        self.count()
        self.is_dirty = True
        return self.exchange(call, *arguments, **named)

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """Make a cursor of the library's, which may ask the server whether it is there."""
        make = self.raw.cursor
        return self.exchange(make, *arguments, **named) if self._library.cursor_asks else make(*arguments, **named)

    def count(self) -> None:
        """Count what the lease has to be settled for."""
        self._count += 1
        if self.counts_for is not None:
            self.counts_for.sent += 1

    def refuse_others(self) -> None:
        """Refuse a process that does not own this connection, and everybody after an interrupt."""
        pid = getpid()
        if self.owner_pid != pid:
            raise InheritedConnectionError(self.alias, self.owner_pid, pid)
        if self.interrupt:
            raise TaintedConnectionError(self.alias, self.interrupt)

    def refuse_another_session(self) -> None:
        """Refuse to begin another session: it would not have what this one has begun."""
        words = f"connection {self.alias!r} is opened once; take a new lease for another"
        raise self._dialect.loaded_dbapi.NotSupportedError(words)

    def is_beyond_use(self) -> bool:
        """Tell whether nothing may be said: closed, interrupted, or another process's."""
        return self.is_closed or self.interrupt != "" or self.owner_pid != getpid()

    def remember(self, cursor: Any) -> None:
        """Close *cursor* before the transaction is settled."""
        self._cursors.add(cursor)

    # -- settling ----------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit, if anything was sent, and if it would be all of it."""
        self.refuse_others()
        if self.is_dirty:
            refuse_halves(self, self._sockets, self._dialect.loaded_dbapi, self._library)
            self.exchange(self.raw.commit)
            self.is_dirty = False

    def rollback(self) -> None:
        """Roll back, if anything was sent. Destructors call this too: nothing happens where nothing may be said."""
        if self.is_dirty and not self.is_beyond_use():
            self.exchange(self.raw.rollback)
            self.is_dirty = False
            self.undone = 0

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """Let the block settle what a task may not."""
        self.is_settling = True
        try:
            yield
        finally:
            self.is_settling = False

    def close_cursors(self) -> None:
        """Close what may be half read: a server takes nothing else before."""
        for cursor in list(self._cursors):
            cursor.close()

    def has_unread(self) -> bool:
        """Tell whether a reply was cut off, or rows wait to be read."""
        if self.pending or self.is_closed:
            return self.pending
        return self._library.has_unread(self.raw)

    def is_open(self) -> bool:
        """Tell what guard and library know by themselves."""
        return not self.is_closed and not self.is_shut and self._library.is_open(self.raw)

    # -- liveness and the end ----------------------------------------------------------------------------

    def record(self, sockets: list[Socket]) -> None:
        """Take down which sockets it has: what the library says, else those that were *found*."""
        told = self._library.descriptor(self.raw)
        known = None if told is None else Socket.of(told)
        self._sockets = sockets if known is None else [known]

    def sockets(self) -> list[int]:
        """List the descriptors of its sockets."""
        return [] if self.is_closed else present(self._sockets)

    def ping(self, timeout_s: float) -> bool:
        """Ask the server for a round trip, in a transaction of its own if it needs one."""
        dialect = self._dialect
        try:
            with self.within(timeout_s):
                self.exchange(dialect.do_ping, self.raw)
                if type(dialect).do_ping is DefaultDialect.do_ping:  # it SELECTs, which may have begun a transaction
                    self.exchange(self.raw.rollback)
        except (self._errors, OSError):
            return False
        return True

    def ask_identity(self, timeout_s: float) -> str | None:
        """
        Ask the server which session this is; None where there is no question for it.

        Raises:
            OSError: There was no answer. The library's own error is the cause.
        """
        question = _QUESTIONS.get(self._dialect.name)
        if question is None:
            return None
        found = self.ask(question, timeout_s)
        return str(found[0][0]) if found else ""

    def ask(self, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """
        Run a statement of taskconn's own, and give its rows.

        Raises:
            OSError: There was no answer, or an error. The library's own is the cause.
        """
        try:
            with self.within(timeout_s), contextlib.closing(self.raw.cursor()) as cursor:
                self.exchange(cursor.execute, statement)
                rows = self.exchange(cursor.fetchall) if cursor.description else []
                self.exchange(self.raw.commit)  # PEP 249 begins a transaction for it
        except self._errors as error:
            raise OSError(str(error)) from error
        return [tuple(row) for row in rows]

    @contextlib.contextmanager
    def within(self, timeout_s: float) -> Iterator[None]:
        """Bound the exchanges of the block: they are lost connections afterwards."""
        bound = self._library.within(self.raw, timeout_s) or TimeLimit(timeout_s, self.sockets())
        try:
            with bound:
                yield
        finally:
            self.is_shut |= isinstance(bound, TimeLimit) and bound.has_passed

    def end(self, timeout_s: float) -> None:
        """Say goodbye and close."""
        if not self.is_closed and self.owner_pid == getpid():
            with self.within(timeout_s), errors_ignored():
                self.is_closed = True
                self._library.abandon(self.raw)
                self.raw.close()

    def taint(self, interrupt: BaseException) -> None:
        """Cut, because *interrupt* struck where nobody can tell what it has left."""
        if self.owner_pid == getpid() and not self.interrupt:
            self.interrupt = type(interrupt).__name__
            self.cut()

    def cut(self) -> None:
        """Shut the sockets, so that nothing more is said or waited for, and let the library free what it holds."""
        if not self.is_closed and self.owner_pid == getpid():
            shut(self.sockets())
            self.is_closed = True
            with errors_ignored():
                self._library.abandon(self.raw)
                self.raw.close()
