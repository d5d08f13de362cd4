"""What servers' errors mean, by number, SQLSTATE or words, whichever client library reports them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

__all__ = ["hear_limit", "is_login_refused", "is_read_only", "is_undone", "note_undone", "number_of", "undone_words"]

#: MySQL and MariaDB: ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR.
_REFUSED_NUMBERS = {1045, 1698}
#: PostgreSQL: invalid_password, invalid_authorization_specification. libpq gives no SQLSTATE of a failed login.
_REFUSED_STATES = {"28P01", "28000"}
_REFUSED_WORDS = ("password authentication failed", "WRONGPASS", "invalid username-password pair")

#: MySQL and MariaDB: ER_OPTION_PREVENTS_STATEMENT, whose words name the option, and ER_READ_ONLY_MODE.
_READ_ONLY_NUMBERS = {1290, 1836}
_READ_ONLY_OPTION = "read-only"
#: PostgreSQL: read_only_sql_transaction.
_READ_ONLY_STATES = {"25006"}
#: Redis: a replica was written to.
_READ_ONLY_WORDS = ("READONLY ", "read only replica")

#: MySQL and MariaDB: ER_QUERY_INTERRUPTED, ER_STATEMENT_TIMEOUT (MariaDB), ER_QUERY_TIMEOUT (MySQL).
_ENDED_NUMBERS = {1317, 1969, 3024}
#: PostgreSQL: query_canceled.
_ENDED_STATES = {"57014"}
#: SQLite: SQLITE_INTERRUPT.
_ENDED_WORDS = "interrupted"
#: MySQL and MariaDB: ER_CHECKREAD, ER_LOCK_TABLE_FULL, ER_LOCK_DEADLOCK. InnoDB has rolled back the transaction, and
#: begins another one with the next statement. Galera answers the last of them to whoever has lost to another node.
_UNDOING_NUMBERS = {1020, 1206, 1213}
#: ER_LOCK_WAIT_TIMEOUT: the statement is rolled back, or all, as the server is told.
_PERHAPS_UNDOING = 1205
_QUESTION = "SHOW VARIABLES LIKE 'innodb_rollback_on_timeout'"
_ON = ("ON", b"ON")
#: Longest wait for a limit that is due, in seconds: Celery's is sent by another process.
_DUE_S = 0.5


def hear_limit(deadline: float, error: BaseException) -> None:
    """
    Let the task's limit raise that was due at *deadline*, instead of *error*, if that says that a statement was ended.

    A library that waits in C returns before Python runs the handler of a signal that has come meanwhile.

    Args:
        deadline: Monotonic time, in seconds.
        error: What the client library made of it.

    Raises:
        BaseException: The limit. If it does not come in `_DUE_S`, nothing is raised.
    """
    if not _is_ended(_innermost(error)):
        return
    until = time.monotonic() + _DUE_S
    while deadline <= time.monotonic() < until:
        time.sleep(0.005)


def is_login_refused(error: BaseException) -> bool:
    """Tell whether *error*, of an attempt to connect, says that the server knows no such user or password."""
    error = _innermost(error)
    words = str(error)
    return (
        _number(error) in _REFUSED_NUMBERS
        or _state(error) in _REFUSED_STATES
        or any(refusal in words for refusal in _REFUSED_WORDS)
    )


def is_read_only(error: BaseException) -> bool:
    """Tell whether *error*, of a statement, says that the server takes no writes: it is no primary any more."""
    error = _innermost(error)
    words = str(error)
    return (
        (_number(error) in _READ_ONLY_NUMBERS and _READ_ONLY_OPTION in words)
        or _state(error) in _READ_ONLY_STATES
        or any(phrase in words for phrase in _READ_ONLY_WORDS)
    )


class _Session(Protocol):
    """What is noted of a connection's statements: see `Session` in `driver.py`."""

    sent: int
    undone: int


def note_undone(session: _Session, error: BaseException) -> None:
    """Note it if *error*, of a statement, says that all before it was rolled back; before the first is nothing."""
    number = _number(error)
    if session.sent > 1 and (number in _UNDOING_NUMBERS or (number == _PERHAPS_UNDOING and not session.undone)):
        session.undone = number or 0


def is_undone(session: _Session, ask: Callable[[str], Iterable[tuple[Any, ...]]]) -> bool:
    """Tell whether all was rolled back that was sent before; where that is a setting of the server's, *ask* for it."""
    if session.undone == _PERHAPS_UNDOING and not any(value in _ON for _, value in ask(_QUESTION)):
        session.undone = 0
    return session.undone != 0


def number_of(error: BaseException) -> int:
    """Give the number of SQLite's *error*, which tells it since Python 3.11; else that of SQLITE_ERROR."""
    return int(getattr(_innermost(error), "sqlite_errorcode", 1))


def undone_words(number: int) -> str:
    """Say why what was sent since the error *number* must not be committed."""
    return (
        f"the error {number} was swallowed, with which all that was sent before it had been rolled back; COMMIT was "
        f"not sent, for that would keep the rest alone: call rollback() before you begin again"
    )


def _is_ended(error: BaseException) -> bool:
    """Tell whether *error*, of a statement, says that somebody, or a time limit, has ended it."""
    return _number(error) in _ENDED_NUMBERS or _state(error) in _ENDED_STATES or str(error) == _ENDED_WORDS


def _innermost(error: BaseException) -> BaseException:
    """Give the client library's error behind SQLAlchemy's."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


def _number(error: BaseException) -> int | None:
    number = getattr(error, "errno", None) or (error.args[0] if error.args else None)
    return number if isinstance(number, int) else None


def _state(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
