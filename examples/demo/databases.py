"""The database that the cars go to: a private MariaDB, or a SQLite file where there is none; as the demo reads it."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from examples.servers import MariaDB, ServerMissingError

from . import sql


class Database:
    """
    Read back what the workers have written, over a connection that is not taskconn's.

    Attributes:
        name: What it is, for the reader.
        url: Its taskconn URL.
        has_sessions: Does a server number its clients' sessions?
    """

    name: str
    url: str
    has_sessions: bool

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, commit it, and return its rows."""
        raise NotImplementedError

    def _make_tables(self, scheme: str) -> None:
        for statement in sql.TABLES:
            self.query(statement.format(key=sql.KEY[scheme]))


class MariaDBDatabase(Database):
    """A database on a private MariaDB."""

    has_sessions = True

    def __init__(self, server: MariaDB) -> None:
        self._server = server
        server.query("CREATE DATABASE demo CHARACTER SET utf8mb4")
        self.url = server.url("demo")
        self.name = f"MariaDB {self.query('SELECT VERSION()')[0][0].split('-')[0]}"
        self._make_tables("mysql")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, commit it, and return its rows."""
        return self._server.query(statement, database="demo")


class SQLiteDatabase(Database):
    """A file."""

    has_sessions = False
    name = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"  # an absolute path brings the fourth slash
        self._make_tables("sqlite")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, commit it, and return its rows."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(statement).fetchall()


def open_database(kind: str, folder: Path, stack: ExitStack) -> Database:
    """
    Start MariaDB, or make a file in *folder*; *stack* ends it.

    Args:
        kind: ``"mariadb"``, ``"sqlite"``, or ``"auto"``: MariaDB where it is installed.
        folder: Folder for the file.
        stack: Gets what has to be ended.
    """
    if kind != "sqlite":
        try:
            return MariaDBDatabase(stack.enter_context(MariaDB()))
        except ServerMissingError:
            if kind == "mariadb":
                raise
    return SQLiteDatabase(folder / "demo.db")
