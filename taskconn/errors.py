"""The exceptions of taskconn and their messages; what raises them stands elsewhere."""

from __future__ import annotations

from typing import ClassVar


class TaskconnError(Exception):
    """
    Say that taskconn refused something, or could not do it.

    Every message has three sentences: what happened, why that is a problem, what to do. Every field is an
    attribute and goes to ``args``, as a string or an integer, so that the error survives pickle and Celery's
    JSON result back end.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _message: ClassVar[str] = "taskconn refused something, or could not do it; a more exact class says what."

    def __init__(self, *fields: str | int) -> None:
        if len(fields) != len(self._fields):
            raise TypeError(f"{type(self).__name__} takes {len(self._fields)} fields {self._fields}, got {len(fields)}")
        super().__init__(*fields)
        for name, value in zip(self._fields, fields, strict=True):
            setattr(self, name, value)

    def __str__(self) -> str:
        named = dict(zip(self._fields, self.args, strict=True))
        return f"{self._message.format(**named)}\nSee docs/errors.md#{type(self).__name__.lower()}"


class ConfigurationError(TaskconnError):
    """Say that settings, or the use of the public face, are wrong: nothing has been opened yet."""


class NotConfiguredError(ConfigurationError):
    """No settings at all were found where a connection was asked for."""

    alias: str
    _fields = ("alias",)
    _message = (
        "Connection {alias!r} was asked for, but taskconn has no settings in this process.\n"
        "Without an URL there is nothing to connect to.\n"
        "Write `taskconn.configure({{{alias!r}: 'mysql://user:password@host/database'}})`, set `taskconn_databases` "
        "in Celery's settings or `TASKCONN_DATABASES` in RQ's settings module, or TASKCONN_URL in the environment."
    )


class UnknownAliasError(ConfigurationError):
    """Settings exist, but not for this alias."""

    alias: str
    known: str
    nearest: str
    _fields = ("alias", "known", "nearest")
    _message = (
        "There is no connection {alias!r}; configured are: {known}.\n"
        "Only a configured alias says how to connect.\n"
        "{nearest}"
    )


class UnknownOptionError(ConfigurationError):
    """An option was given that taskconn and the driver do not have."""

    alias: str
    option: str
    known: str
    nearest: str
    _fields = ("alias", "option", "known", "nearest")
    _message = (
        "Connection {alias!r} has an option {option!r} that nobody knows.\n"
        "An option that is ignored in silence would look as if it worked; there are: {known}.\n"
        "{nearest}"
    )


class UnknownSchemeError(ConfigurationError):
    """The scheme of an URL names no driver."""

    alias: str
    scheme: str
    known: str
    nearest: str
    _fields = ("alias", "scheme", "known", "nearest")
    _message = (
        "The URL of connection {alias!r} starts with {scheme!r}, which no driver answers to.\n"
        "The scheme chooses the driver; there are: {known}.\n"
        "{nearest}"
    )


class InvalidSettingsError(ConfigurationError):
    """A setting has a value that can't be used."""

    alias: str
    problem: str
    remedy: str
    _fields = ("alias", "problem", "remedy")
    _message = "The settings of connection {alias!r} can't be used: {problem}.\n{remedy}"


class DriverNotInstalledError(ConfigurationError):
    """The package that a driver needs is not installed, or too old."""

    alias: str
    scheme: str
    package: str
    extra: str
    reason: str
    _fields = ("alias", "scheme", "package", "extra", "reason")
    _message = (
        "Connection {alias!r} needs the package {package!r} for {scheme}:// URLs ({reason}).\n"
        "taskconn installs no client library by itself.\n"
        "Write `pip install 'taskconn[{extra}]'`."
    )


class DecorationError(ConfigurationError):
    """A function can't be decorated as it was."""

    function: str
    problem: str
    remedy: str
    _fields = ("function", "problem", "remedy")
    _message = "`with_db` can't be used on {function}: {problem}.\n{remedy}"


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


class OutcomeError(TaskconnError):
    """Say that the end of a task could not be made what the task asked for."""


class RollbackOnlyError(OutcomeError):
    """A lease was to be committed although a lease joined to it had failed."""

    alias: str
    reason: str
    _fields = ("alias", "reason")
    _message = (
        "The transaction of {alias!r} was rolled back: a lease inside it ended with {reason}, which was swallowed.\n"
        "Both share one transaction, and half of its work must not be committed.\n"
        "Let the error pass, or give the inner work a lease outside of this one."
    )


class CommitOutcomeUnknownError(OutcomeError):
    """COMMIT was sent, and its answer never came."""

    alias: str
    reason: str
    _fields = ("alias", "reason")
    _message = (
        "Connection {alias!r} was lost between sending COMMIT and its answer: {reason}\n"
        "The server may or may not have committed, so taskconn does not try again.\n"
        "Make the task safe to repeat (an idempotency key, a unique index), and look before it is sent again."
    )


class PartialCommitError(OutcomeError):
    """One alias was committed, and the commit of another one failed after it."""

    committed: str
    failed: str
    reason: str
    _fields = ("committed", "failed", "reason")
    _message = (
        "{committed} was committed, then the commit of {failed!r} failed: {reason}\n"
        "Two servers have no common transaction, so the first can't be undone.\n"
        "Repair {failed!r} by hand or by a task that is safe to repeat; commit the one that may fail first (innermost)."
    )


class ManualSettlementError(OutcomeError):
    """`commit()`, `rollback()` or `close()` was called on a connection where only the lease may settle."""

    alias: str
    verb: str
    reason: str
    _fields = ("alias", "verb", "reason")
    _message = (
        "`{verb}()` was called on connection {alias!r} by hand, but {reason}.\n"
        "It would settle work that belongs to somebody else.\n"
        "Leave it to the outermost lease, or take a lease outside of it for work of your own."
    )
