"""`Driver`: all that a driver's author has to read. One driver knows one client library, nothing of pools or tasks."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from ._sockets import Peek, peek
from ._target import Target

__all__ = ["Answer", "Driver", "Peek", "Session", "Target", "peek", "run"]

C = TypeVar("C")

#: A statement's rows, and how many rows it has changed.
Answer = tuple[list[tuple[Any, ...]], int]


class Session:
    """
    Tell, without a round trip, what was done with one connection. The driver writes it, lease and pool read it.

    Attributes:
        sent: Statements sent since the lease began; the pool sets it to 0. A driver that can't count leaves
            `Driver.counts_statements` False.
        pending: A reply, or a part of one, has not been read: the connection may answer the next question with it.
        interrupt: Name of the exception that struck in the middle of a statement; "" if none did.
        closed_by_hand: The task called ``close()``.
        settled_by_hand: The task has committed or rolled back by itself, and `sent` counts from there on.
        deadline: Monotonic time, in seconds, after which statements are ended for the task's limit; None if never.
        refusal: Raises if the task may not call the settling method that it is given the name of; None if it may.
        undone: Number of the error with which the server has rolled back all that was sent before; 0 if it has not.
        owner_pid: Process that opened the connection.
    """

    __slots__ = (
        "alias", "closed_by_hand", "deadline", "interrupt", "owner_pid", "pending", "refusal", "sent",
        "settled_by_hand", "undone",
    )  # fmt: skip

    def __init__(self, alias: str = "", owner_pid: int = 0) -> None:
        self.alias = alias
        self.owner_pid = owner_pid
        self.sent = 0
        self.pending = False
        self.interrupt = ""
        self.closed_by_hand = False
        self.settled_by_hand = False
        self.deadline: float | None = None
        self.refusal: Callable[[str], None] | None = None
        self.undone = 0


class Driver(ABC, Generic[C]):
    """
    Open, check, settle, close and discard the connections of one client library.

    An instance serves one alias in this process and its children; it may keep what is dear to make (a TLS context),
    never a connection. Methods get a connection that this process opened, except `discard`. All times are in seconds.

    A subclass whose connection class is its own keeps a `Session` up to date: it counts statements, marks a reply
    as pending from before the first byte is sent until the reply has been read whole, and closes the socket
    without protocol when anything but the library's own error interrupts it.
    """

    #: Package on PyPI, for messages.
    package: ClassVar[str]
    #: Does the client have transactions that a lease commits or rolls back? An instance may know better after an open.
    transactional: bool = True
    #: Is `Session.sent` kept? If not, every lease is settled with a round trip.
    counts_statements: ClassVar[bool] = True
    #: Is `Session.interrupt` kept? If not, every interrupt that leaves a task is taken to have struck in a statement.
    notices_interrupts: ClassVar[bool] = True
    #: Must idle connections be closed before a fork, because a child can't be kept from harming them (SQLite)?
    #: An instance may know better after an open.
    closes_before_fork: bool = False
    #: Is it a test's own object in an alias's place, about which nothing is kept?
    is_stand_in: ClassVar[bool] = False

    #: SQL that the server speaks, where taskconn has a word to say itself: ``"mysql"``, ``"postgresql"`` (which need
    #: `ask`, too) or ``"sqlite"``; "" for others. An instance may know better after `validate` or an open.
    dialect: str = ""

    #: Class of the connections, where it is known before the first one is opened; `proxy` shows it to isinstance().
    connection_type: ClassVar[type | None] = None

    @property
    @abstractmethod
    def errors(self) -> tuple[type[BaseException], ...]:
        """The library's own exceptions; all others that pass through a call are interrupts."""

    def validate(self, target: Target) -> None:
        """
        Refuse connect arguments that the library does not have, or values it can't read. Opens nothing.

        Raises:
            UnknownOptionError: An argument's name is unknown.
            InvalidSettingsError: A value is wrong.
            DriverNotInstalledError: The library is too old.
        """

    @abstractmethod
    def open(self, target: Target, timeout_s: float) -> C:
        """
        Open a connection and log in, within *timeout_s*.

        Raises:
            errors: What the library raises.
        """

    @abstractmethod
    def session(self, connection: C) -> Session:
        """Give the connection's `Session`, the same object each time."""

    @abstractmethod
    def sockets(self, connection: C) -> Iterable[int]:
        """List the descriptors that a forked child may not keep. Must neither block nor speak."""

    def identity(self, connection: C) -> str | None:
        """Give the server's own id of the session, as told at login; None if there is none without a round trip."""
        return None

    def is_open(self, connection: C) -> bool:
        """Tell what the client knows by itself: False if the library has closed the connection. No round trip."""
        return True

    def peek(self, connection: C) -> Peek:
        """Look at the sockets of an idle connection, without a round trip and without waiting (about 1 µs)."""
        return peek(self.sockets(connection))

    @abstractmethod
    def is_alive(self, connection: C, timeout_s: float) -> bool:
        """Ask the server, within *timeout_s*; False if it does not answer. Raises nothing of the library's."""

    def ask_identity(self, connection: C, timeout_s: float) -> str | None:
        """
        Ask the server which session this is, within *timeout_s*: one round trip that proves life too.

        Returns:
            The same as `identity`, as the server answers now; None if it can't be asked, so that `is_alive` is.

        Raises:
            errors: There was no answer.
        """
        return None

    def ask(self, connection: C, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """
        Run a statement of taskconn's own while no transaction is open, within *timeout_s*, and leave none open.

        Returns:
            Its rows, none if it has none. What is in them may be text, bytes or numbers, as the library has it.

        Raises:
            errors: What the library raises.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `dialect`")

    def cancel(self, connection: C, timeout_s: float) -> bool | None:
        """
        Have the server end the statement that *connection* is in, or was in when it was dropped, within *timeout_s*.

        Called in another thread, for connections of this process. It may neither use the connection's socket nor end
        anything but what this very session runs.

        Returns:
            False if nothing is known to run; None if the library has no way, so that a second session is to do it, by
            SQL of the `dialect`.

        Raises:
            errors: What the library raises; it is logged.
        """
        return None

    def has_pending_reply(self, connection: C) -> bool:
        """Tell, without a round trip, whether a reply is pending or half read, so that the connection is tainted."""
        return self.session(connection).pending

    def expose(self, connection: C) -> Any:
        """
        Give what the task is to get in the connection's stead (an ORM session): the same until `retract` is called.

        A driver that does not define it costs no call: the task gets the connection itself.
        """
        return connection

    def retract(self, connection: C) -> None:
        """
        End what `expose` gave: the connection goes back to its pool. It neither speaks nor raises the library's errors.

        Not called for a connection that is closed or invalidated, which ends this too.
        """

    def flush(self, connection: C) -> None:
        """
        Send what the client has kept back until now (an ORM's changes): work of the task's, before it is committed.

        Raises:
            errors: What the library raises; the task has failed.
        """

    def stand_ins(self) -> tuple[Callable[[C], Any] | None, ...]:
        """Give `expose`, `flush` and `retract`, or None where the class does not define one: no lease pays for it."""
        return tuple(
            getattr(self, name) if getattr(type(self), name) is not getattr(Driver, name) else None
            for name in ("expose", "flush", "retract")
        )

    def is_settled(self, connection: C) -> bool:
        """Tell, without a round trip, that no transaction is open for certain; False where that is not known."""
        return False

    def commit(self, connection: C, timeout_s: float) -> None:
        """
        Commit, within *timeout_s*.

        Raises:
            errors: What the library raises. `Session.pending` is True afterwards if the command was sent and never
                answered, so that the outcome is unknown; False if it was not sent, or refused by the server. Where a
                reply was pending already, or `Session.undone` is not 0, the command must not be sent.
        """

    def rollback(self, connection: C, timeout_s: float) -> None:
        """Roll back, within *timeout_s*. Raises as `commit` does."""

    @property
    def has_savepoints(self) -> bool:
        """Can `savepoint`, `release` and `rollback_to` be called?"""
        return self.transactional

    def savepoint(self, connection: C, name: str) -> None:
        """Set a savepoint; it begins a transaction where none is open. Raises what the library raises."""
        self.run(connection, f"SAVEPOINT {name}")

    def release(self, connection: C, name: str) -> None:
        """Forget a savepoint and keep what was done since; it is committed with the transaction."""
        self.run(connection, f"RELEASE SAVEPOINT {name}")

    def rollback_to(self, connection: C, name: str) -> None:
        """Undo what was done since a savepoint, which stays."""
        self.run(connection, f"ROLLBACK TO SAVEPOINT {name}")

    def run(self, connection: C, statement: str, parameters: Sequence[Any] = ()) -> Answer:
        """
        Run one statement of taskconn's own in the transaction that is open, through a cursor of PEP 249.

        Args:
            connection: Where to.
            statement: SQL, with ``%s`` for each parameter.
            parameters: Strings, integers, None.

        Raises:
            errors: What the library raises.
        """
        return run(cast("Any", connection).cursor(), statement, parameters)

    def restore(self, connection: C) -> None:
        """Put back what a task may have changed in the client (autocommit), once settled; no round trip if nothing."""

    def is_as_opened(self, connection: C) -> bool:
        """Tell in one quick look after a commit: open, no reply pending, nothing to `restore`. False: not known."""
        return False

    def reset(self, connection: C, timeout_s: float) -> None:
        """Clear the session (variables, temporary tables, locks), once settled; without it, `reset=True` is refused."""
        raise NotImplementedError(f"{type(self).__name__} can't reset a session")

    @abstractmethod
    def close(self, connection: C, timeout_s: float) -> None:
        """Say goodbye on the wire and close, within *timeout_s*. Raises nothing of the library's."""

    @abstractmethod
    def invalidate(self, connection: C) -> None:
        """Drop one that may be broken: shut its socket, no protocol, no waiting. Raises nothing of the library's."""

    def discard(self, connection: C) -> None:
        """
        Make an inherited connection harmless in the child, beyond the dead sockets that are in place already.

        Runs in the fork hook: it must not log, lock, speak, or call what may block. Most drivers do nothing.
        """

    def resource(self, target: Target) -> str | None:
        """Name what connections of several aliases share in a process (a SQLite file's path); None if nothing."""
        return None


def run(cursor: Any, statement: str, parameters: Sequence[Any]) -> Answer:
    """Run a statement on *cursor*, and close it. `Driver.run` is this, unless the library needs another cursor."""
    with contextlib.closing(cursor):
        cursor.execute(statement, *([tuple(parameters)] if parameters else []))
        rows = cursor.fetchall() if cursor.description else []
        return [tuple(row.values()) if isinstance(row, Mapping) else tuple(row) for row in rows], cursor.rowcount
