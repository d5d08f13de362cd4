"""The ledger: a table of what was done once, in the database whose work it is about; its SQL in every dialect."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .driver import Driver
from .errors import LedgerDialectError, LedgerMissingError

__all__ = ["DIALECTS", "TABLE", "Entry", "claim", "create", "keep", "prune", "statements"]

#: Name of the table.
TABLE = "taskconn_ledger"

#: Most characters of a name or key that are kept for people to read; what identifies an entry is its digest.
_READABLE = 255

_MYSQL = """\
CREATE TABLE IF NOT EXISTS taskconn_ledger (
    entry CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    task_name VARCHAR(255) NOT NULL,
    task_key VARCHAR(255) NOT NULL,
    result LONGTEXT,
    repeats INTEGER NOT NULL DEFAULT 0,
    written_at BIGINT NOT NULL,
    INDEX taskconn_ledger_written_at (written_at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4"""

_STANDARD = """\
CREATE TABLE IF NOT EXISTS taskconn_ledger (
    entry CHAR(64) NOT NULL PRIMARY KEY,
    task_name VARCHAR(255) NOT NULL,
    task_key VARCHAR(255) NOT NULL,
    result TEXT,
    repeats INTEGER NOT NULL DEFAULT 0,
    written_at BIGINT NOT NULL
)"""

_INDEX = "CREATE INDEX IF NOT EXISTS taskconn_ledger_written_at ON taskconn_ledger (written_at)"

_INSERT = "INSERT INTO taskconn_ledger (entry, task_name, task_key, written_at) VALUES (%s, %s, %s, %s) "
_ON_CONFLICT = "ON CONFLICT (entry) DO UPDATE SET repeats = taskconn_ledger.repeats + 1"
_SELECT = "SELECT result, repeats FROM taskconn_ledger WHERE entry = %s"
_UPDATE = "UPDATE taskconn_ledger SET result = %s WHERE entry = %s"
_DELETE = """\
DELETE FROM taskconn_ledger WHERE entry IN
(SELECT entry FROM taskconn_ledger WHERE written_at < %s ORDER BY written_at LIMIT %s)"""


@dataclass(frozen=True)
class _Dialect:
    """
    Hold what differs between servers.

    Attributes:
        create: Statements that make the table, unless it is there.
        claim: Inserts an entry, or counts a repeat; waits for a transaction that has just inserted it.
        delete: Deletes the oldest entries: before a time, so many at the most.
        tells_inserts: Does `claim` change one row if it inserts, and two if it finds one?
    """

    create: tuple[str, ...]
    claim: str
    delete: str
    tells_inserts: bool = False


#: `Driver.dialect` -> its SQL.
DIALECTS: Mapping[str, _Dialect] = {
    "mysql": _Dialect(
        (_MYSQL,),
        _INSERT + "ON DUPLICATE KEY UPDATE repeats = repeats + 1",
        "DELETE FROM taskconn_ledger WHERE written_at < %s ORDER BY written_at LIMIT %s",
        tells_inserts=True,
    ),
    "postgresql": _Dialect((_STANDARD, _INDEX), _INSERT + _ON_CONFLICT + " RETURNING result, repeats", _DELETE),
    "sqlite": _Dialect((_STANDARD, _INDEX), _INSERT + _ON_CONFLICT, _DELETE),
}


@dataclass(frozen=True)
class Entry:
    """
    Identify what is to be done once.

    Attributes:
        name: Name of the function.
        key: What tells this execution from the function's others.
    """

    name: str
    key: str

    @property
    def digest(self) -> str:
        """The primary key: 64 characters, whatever the server's collation takes for equal."""
        return hashlib.sha256(f"{self.name}\0{self.key}".encode(errors="surrogatepass")).hexdigest()


def statements(dialect: str, alias: str) -> tuple[str, ...]:
    """
    List the statements that make the table in a database of *dialect*.

    Raises:
        LedgerDialectError: taskconn has no SQL for it.
    """
    return _sql(dialect, alias).create


def create(driver: Driver[Any], connection: Any, alias: str) -> None:
    """Make the table, unless it is there. The caller commits."""
    for statement in statements(driver.dialect, alias):
        driver.run(connection, statement)


def claim(driver: Driver[Any], connection: Any, alias: str, entry: Entry) -> tuple[str | None, int]:
    """
    Write *entry* in the transaction that is open, or find it; waits for a transaction that has just written it.

    Returns:
        What was returned the first time, as JSON, and how often it was asked for since; None and 0 for the first.

    Raises:
        LedgerMissingError: There is no such table.
        LedgerDialectError: taskconn has no SQL for this database.
        errors: What the library raises (a lock that was waited for in vain).
    """
    sql, digest = _sql(driver.dialect, alias), entry.digest
    try:
        parameters = (digest, _shown(entry.name), _shown(entry.key), int(time.time()))
        rows, changed = driver.run(connection, sql.claim, parameters)
        if sql.tells_inserts and changed == 1:
            return None, 0
        if not rows:
            rows, _ = driver.run(connection, _SELECT, (digest,))
    except driver.errors as error:
        if _is_missing(error):
            raise LedgerMissingError(alias, ";\n".join(sql.create)) from error
        raise
    ((result, repeats),) = rows
    return result, int(repeats)


def keep(driver: Driver[Any], connection: Any, entry: Entry, result: str) -> bool:
    """
    Write what was returned, as JSON, in the transaction that `claim` has written in; False if the entry has gone.

    Raises:
        errors: What the library raises.
    """
    return driver.run(connection, _UPDATE, (result, entry.digest))[1] == 1


def prune(driver: Driver[Any], connection: Any, alias: str, before: float, limit: int) -> int:
    """
    Delete entries written before a Unix time, the oldest first. The caller commits.

    Returns:
        How many were deleted, *limit* at the most.
    """
    sql = _sql(driver.dialect, alias)
    try:
        return driver.run(connection, sql.delete, (int(before), limit))[1]
    except driver.errors as error:
        if _is_missing(error):
            raise LedgerMissingError(alias, ";\n".join(sql.create)) from error
        raise


def _sql(dialect: str, alias: str) -> _Dialect:
    found = DIALECTS.get(dialect)
    if found is None:
        raise LedgerDialectError(alias, dialect or "no SQL", ", ".join(DIALECTS))
    return found


def _shown(text: str) -> str:
    """Write *text* so that every server and character set takes it."""
    return text.encode("unicode_escape").decode("ascii")[:_READABLE]


def _is_missing(error: BaseException) -> bool:
    """Tell whether *error*, of any client library, or wrapped by SQLAlchemy, says that there is no such table."""
    cause = getattr(error, "orig", None) or error
    codes = {getattr(cause, name, None) for name in ("sqlstate", "pgcode", "errno")} | set(cause.args[:1])
    return bool(codes & {"42P01", "42S02", 1146}) or f"no such table: {TABLE}" in str(cause)
