"""Errors of a task's end: what became of its transaction."""

from __future__ import annotations

from ._base import TaskconnError


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


class SavepointError(OutcomeError):
    """A savepoint was asked for where there can be none."""

    alias: str
    problem: str
    remedy: str
    _fields = ("alias", "problem", "remedy")
    _message = (
        "No savepoint was set on connection {alias!r}: {problem}.\n"
        "What the block does could not be undone alone.\n"
        "{remedy}"
    )


class SavepointLostError(OutcomeError):
    """The end of a savepoint's block found no savepoint any more."""

    alias: str
    reason: str
    _fields = ("alias", "reason")
    _message = (
        "The savepoint on connection {alias!r} could be neither kept nor undone: {reason}\n"
        "A statement in its block has ended the transaction (DDL in MySQL does, and COMMIT as text), so that what came "
        "before may be committed; or it has left rows unread.\n"
        "Move such statements out of the block. The lease around it is rolled back."
    )


class LedgerMissingError(OutcomeError):
    """The table that `once` writes to is not there."""

    alias: str
    ddl: str
    _fields = ("alias", "ddl")
    _message = (
        "The database of {alias!r} has no table taskconn_ledger, where `once` remembers what was done.\n"
        "Without it nobody knows whether the task has run before, so that it was not run.\n"
        "Run `taskconn ledger create --alias {alias}`, or have your migrations run: {ddl}"
    )


class LedgerDialectError(OutcomeError):
    """A ledger was asked for in a database that taskconn has no SQL for."""

    alias: str
    dialect: str
    known: str
    _fields = ("alias", "dialect", "known")
    _message = (
        "Connection {alias!r} can't have a ledger: it speaks {dialect}, and taskconn knows {known}.\n"
        "`once` needs one table and its transaction together with the task's work.\n"
        "Put the alias that the task writes to under `once`, or make the task safe to repeat by a key of your own."
    )


class OnceRefusedError(OutcomeError):
    """`once` was asked of a call that it can't be promised for; the function was not called."""

    function: str
    problem: str
    remedy: str
    _fields = ("function", "problem", "remedy")
    _message = "{function}() can't be done once: {problem}.\nIt was not called, for it might be done twice.\n{remedy}"


class OnceResultError(OutcomeError):
    """What a function under `once` returned can't be stored."""

    function: str
    kind: str
    reason: str
    _fields = ("function", "kind", "reason")
    _message = (
        "{function}() is to be done once and returned what can't be stored as JSON, of type {kind}: {reason}\n"
        "A repeated delivery has to return the same without calling it, so that its work was rolled back.\n"
        "Return None, strings, numbers, lists and dictionaries of them."
    )


class OnceUnfinishedError(OutcomeError):
    """The ledger has an entry without a result; the function was not called."""

    function: str
    key: str
    entry: str
    _fields = ("function", "key", "entry")
    _message = (
        "{function}() with the key {key!r} has begun and has no result: it was called again by itself, or a statement "
        "in it (DDL in MySQL, COMMIT as text) has committed half of its work, and then it failed.\n"
        "Nobody knows what is left to do, so that it was not called.\n"
        "Look at the data, finish or undo it, then delete the row of taskconn_ledger with entry = '{entry}'."
    )


class OnceLostError(OutcomeError):
    """The ledger's entry had gone when a function under `once` returned."""

    function: str
    key: str
    _fields = ("function", "key")
    _message = (
        "{function}() with the key {key!r} has returned, and its entry in the ledger has gone: the transaction was "
        "rolled back inside it, by a deadlock whose error was swallowed, or by ROLLBACK as text.\n"
        "What it did before that is lost, so that the rest was rolled back, too.\n"
        "Let such errors pass: the task can be tried again."
    )
