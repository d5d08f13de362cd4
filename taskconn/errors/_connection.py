"""Errors of getting and using a connection."""

from __future__ import annotations

from typing import ClassVar

from ._base import TaskconnError


class ConnectionError(TaskconnError):  # noqa: A001 -- the family's name; always written taskconn.errors.ConnectionError
    """Say that no connection can be had, or that one may not be used."""


class ConnectionFailedError(ConnectionError):
    """A connection could not be opened; the driver's error is the cause."""

    alias: str
    address: str
    tries: int
    elapsed_ms: int
    reason: str
    _fields = ("alias", "address", "tries", "elapsed_ms", "reason")
    _message = (
        "Connection {alias!r} to {address} could not be opened (tries: {tries}, {elapsed_ms} ms): {reason}\n"
        "The task has not run a statement.\n"
        "Check that the server is up and reachable from here; a Celery task can name this error in `autoretry_for`."
    )


class AcquireTimeoutError(ConnectionError):
    """All connections of an alias in this process stayed in use for `acquire_timeout`."""

    alias: str
    waited_ms: int
    max_size: int
    holders: str
    _fields = ("alias", "waited_ms", "max_size", "holders")
    _message = (
        "No connection {alias!r} became free within {waited_ms} ms: all {max_size} are in use.\n"
        "Held by: {holders}.\n"
        "Raise `max_size` or `acquire_timeout`, or hold leases for a shorter time."
    )


class InheritedConnectionError(ConnectionError):
    """A connection that another process opened was used."""

    alias: str
    owner_pid: int
    pid: int
    _fields: ClassVar[tuple[str, ...]] = ("alias", "owner_pid", "pid")
    _message = (
        "Connection {alias!r} was opened by process {owner_pid} and is used by process {pid}.\n"
        "After a fork both share one session and would read each other's replies.\n"
        "Lease it where it is used: `with taskconn.lease({alias!r}) as db`, or `@with_db({alias!r})` on the task."
    )


class InheritedFileError(InheritedConnectionError):
    """A SQLite file that the parent had in use at the fork was opened by the child."""

    path: str
    _fields = ("alias", "owner_pid", "pid", "path")
    _message = (
        "Connection {alias!r} was in use by process {owner_pid} when process {pid} was forked from it ({path}).\n"
        "SQLite's own table of locks was inherited: a connection of this process would read without locks.\n"
        "End leases and transactions of {alias!r} before the fork, or start processes by `spawn`."
    )


class TaintedConnectionError(ConnectionError):
    """A connection was used again after it had been interrupted in the middle of a reply."""

    alias: str
    interrupt: str
    _fields = ("alias", "interrupt")
    _message = (
        "Connection {alias!r} was interrupted by {interrupt} in the middle of a statement and is used again.\n"
        "The next reply would be that of the interrupted statement, so it has been dropped; the server rolls back.\n"
        "Let {interrupt} end the task, or take a new lease outside of this one."
    )


class ConnectionIdentityError(ConnectionError):
    """A connection just opened is not the session that the server says it is."""

    alias: str
    expected: str
    found: str
    _fields = ("alias", "expected", "found")
    _message = (
        "Connection {alias!r} was session {expected} of its server and answers as session {found}.\n"
        "Another process shares its socket, or a pooler changes sessions between statements.\n"
        "Open connections through taskconn only, or set `transaction` pooling apart (docs/drivers/)."
    )


class UnsettledProxyError(ConnectionError):
    """A lease was asked for while the proxy's connection has an open transaction."""

    alias: str
    _fields = ("alias",)
    _message = (
        "A lease of {alias!r} was asked for while its proxy has an open transaction in the same thread.\n"
        "The lease would commit, or roll back, work that it did not do.\n"
        "Write `conn.commit()` or `conn.rollback()` on the proxy first."
    )


class LeaseEndedError(ConnectionError):
    """A lease was used before it began or after it had ended."""

    alias: str
    problem: str
    _fields = ("alias", "problem")
    _message = (
        "The lease of {alias!r} {problem}.\n"
        "Its connection may already belong to another task.\n"
        "Write `with taskconn.lease({alias!r}) as db:` around every use."
    )


class ForkRefusedError(ConnectionError):
    """The guard, in mode `raise`, refused a fork that would carry a connection over."""

    pid: int
    found: str
    _fields = ("pid", "found")
    _message = (
        "Process {pid} was about to fork with an open {found}.\n"
        "Parent and child would share one session and read each other's replies.\n"
        "Open it in the child, in a task or by `taskconn.proxy`, or allow it: `taskconn.guard('raise', allow=[...])`."
    )
