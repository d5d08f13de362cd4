"""Rows of every library below SQLAlchemy, but for the one of the contract suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import text

from tests.drivers.rows import Row
from tests.drivers.rows.sqlalchemy import SQLAlchemyRow


def over(library: Row) -> Row:
    """Make the row of SQLAlchemy over *library*."""
    return (_MySQL if library.family == "mysql" else _PostgreSQL)(library)


class _MySQL(SQLAlchemyRow):
    """One more library for MySQL."""

    def __init__(self, library: Row) -> None:
        _set_below(self, library)


class _PostgreSQL(SQLAlchemyRow):
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


class SQLite(SQLAlchemyRow):
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


def _set_below(row: Row, library: Row) -> None:
    """Make *row* one of SQLAlchemy over *library*."""
    vars(row).update(
        name=f"sqlalchemy+{library.name}",
        scheme=f"sqlalchemy+{library.scheme}",
        plain=library.plain,
        tls=library.tls,
        package=library.driver.package,
    )
