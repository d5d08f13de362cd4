"""
The rows of the matrix: those of the contract suite, every library below SQLAlchemy, and clients by `connect=`.

The rows that are here alone share their driver with others; the short matrix has a few cells of each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import psycopg
import pymysql
from sqlalchemy import text

from taskconn.drivers.callables import Callables
from tests.drivers.rows import ROWS as CONTRACT_ROWS
from tests.drivers.rows import PsycopgRow, PyMySQLRow, Row, SQLAlchemyRow

T = TypeVar("T")

#: Why a leftover stays that a driver would have put back.
_IS_ITS_OWN = "taskconn does not know what this client switches"


def _set_below(row: Row, library: Row) -> None:
    """Make *row* one of SQLAlchemy over *library*."""
    vars(row).update(
        name=f"sqlalchemy+{library.name}",
        scheme=f"sqlalchemy+{library.scheme}",
        plain=library.plain,
        tls=library.tls,
        package=library.driver.package,
    )


class _MySQLBySQLAlchemy(SQLAlchemyRow):
    """One more library for MySQL."""

    def __init__(self, library: Row) -> None:
        _set_below(self, library)


class _PostgreSQLBySQLAlchemy(SQLAlchemyRow):
    """A library for PostgreSQL."""

    family = "postgresql"
    asks_while_reading = True

    def __init__(self, library: Row) -> None:
        _set_below(self, library)

    def prepare(self, connection: Any) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS car (name TEXT)"))

    def client(self, connection: Any) -> Any:
        return _Isolation(connection)

    def half_read(self, connection: Any) -> Any:
        options = {"stream_results": True, "max_row_buffer": 1}
        rows = connection.execute(text("SELECT generate_series(1, 20000)"), execution_options=options)
        assert rows.fetchone() == (1,)
        return rows

    def session_id(self, connection: Any) -> str:
        return str(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            question = text("SELECT CAST(:number AS int), repeat('x', :size)")
            rows = connection.execute(question, {"number": number, "size": number % 3000})
            return rows.fetchall(), [(number, "x" * (number % 3000))]
        if way == 1:
            options = {"stream_results": True, "max_row_buffer": 1}
            rows = connection.execute(
                text(f"SELECT g + {number} FROM generate_series(1, 5) g"), execution_options=options
            )
            return [value for (value,) in rows], [number + step for step in range(1, 6)]
        connection.execute(text(f"SET taskconn.number = {number}"))
        connection.commit()
        return connection.execute(text("SHOW taskconn.number")).fetchall(), [(str(number),)]


class _Isolation:
    """Switch a session of SQLAlchemy's to autocommit, as its manual has it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @property
    def autocommit(self) -> bool:
        return bool(self._session.connection().connection.dbapi_connection.autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        assert value
        self._session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


class _SQLiteBySQLAlchemy(SQLAlchemyRow):
    """Python's own library for SQLite."""

    name = "sqlalchemy+sqlite"
    family, scheme = "sqlite", "sqlalchemy+sqlite"
    has_server = False
    asks_while_reading = True
    package = "SQLAlchemy"
    misspelt = "time_out"
    plain: ClassVar[Mapping[str, str]] = {"timeout": "1"}

    def prepare(self, connection: Any) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS car (name TEXT)"))

    def client(self, connection: Any) -> Any:
        return connection.connection().connection.driver_connection

    def half_read(self, connection: Any) -> Any:
        rows = connection.execute(text("SELECT 1 UNION ALL SELECT 2"), execution_options={"stream_results": True})
        assert rows.fetchone() == (1,)
        return rows

    def rest(self, reader: Any) -> list[Any] | None:
        return None

    def session_id(self, connection: Any) -> str:
        return "none"

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        return connection.execute(text("SELECT :number"), {"number": number}).fetchall(), [(number,)]


class _PyMySQLByCallable(PyMySQLRow):
    name = "connect=pymysql"
    driver = Callables  # type: ignore[assignment]  # another driver for the same library
    scheme = "connect+mysql"
    misspelt = ""
    is_bare = True
    errors = (pymysql.MySQLError,)
    package = "PyMySQL"
    stays: ClassVar[Mapping[str, str]] = {"SET autocommit": _IS_ITS_OWN}
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}"}
    options: ClassVar[Mapping[str, Any]] = {
        "connect": "tests.matrix.clients:open_pymysql",
        "check": "tests.matrix.clients:ping_pymysql",
    }

    def session_ids(self, connection: Any) -> set[str]:
        return {str(connection.opened.thread_id())}


class _PsycopgByCallable(PsycopgRow):
    name = "connect=psycopg"
    driver = Callables  # type: ignore[assignment]  # another driver for the same library
    scheme = "connect+postgresql"
    misspelt = ""
    is_bare = True
    errors = (psycopg.Error,)
    package = "psycopg"
    stays: ClassVar[Mapping[str, str]] = {"SET autocommit": _IS_ITS_OWN}
    options: ClassVar[Mapping[str, Any]] = {
        "connect": "tests.matrix.clients:open_psycopg",
        "check": "tests.matrix.clients:ping_psycopg",
    }

    def session_ids(self, connection: Any) -> set[str]:
        return {str(connection.opened.info.backend_pid)}


def _by_sqlalchemy(library: Row) -> Row:
    return (_MySQLBySQLAlchemy if library.family == "mysql" else _PostgreSQLBySQLAlchemy)(library)


_ADDED = (
    *(
        _by_sqlalchemy(library)
        for name, library in CONTRACT_ROWS.items()
        if library.family in {"mysql", "postgresql"} and name not in {"pymysql", "sqlalchemy"}
    ),
    _SQLiteBySQLAlchemy(),
    _PyMySQLByCallable(),
    _PsycopgByCallable(),
)

#: Name to row.
ROWS: Mapping[str, Row] = {**CONTRACT_ROWS, **{row.name: row for row in _ADDED}}

IS_FULL = os.environ.get("MATRIX") == "full"


def pick(row: Row, cells: Sequence[T]) -> Sequence[T]:
    """Choose from *cells* of the short matrix: all for rows of the contract suite, one for each of the others."""
    return cells if IS_FULL or row not in _ADDED else cells[_ADDED.index(row) % len(cells) :][:1]
