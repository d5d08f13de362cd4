"""The servers of a run: private, started when a table first asks for one, stopped at the end."""

from __future__ import annotations

import functools
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from examples.servers import MariaDB, PostgreSQL, Redis

__all__ = ["Stage"]

#: Where contenders write one row for each task.
_MYSQL_TABLE = (
    "CREATE TABLE done (id BIGINT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(64) NOT NULL, KEY (who)) ENGINE=InnoDB"
)
_POSTGRESQL_TABLE = "CREATE TABLE done (id BIGSERIAL PRIMARY KEY, who VARCHAR(64) NOT NULL)"


class Stage:
    """
    Hold what a run has started.

    Attributes:
        is_quick: A smoke test: tiny rounds, whose figures say nothing.
        stack: Ends what was started, in reverse order.
    """

    def __init__(self, stack: ExitStack, *, is_quick: bool = False) -> None:
        self.stack = stack
        self.is_quick = is_quick

    def times(self, number: int) -> int:
        """Give how often a round does its work: *number*, or a few times in a smoke test."""
        return min(number, 3) if self.is_quick else number

    @functools.cached_property
    def folder(self) -> Path:
        """Give a folder for this run's files."""
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="taskconn-bench-")))

    @functools.cached_property
    def mariadb(self) -> MariaDB:
        """Give a MariaDB whose database ``bench`` has the table ``done``."""
        server = self.stack.enter_context(MariaDB(options=("--max-connections=1000",)))
        server.query("CREATE DATABASE bench CHARACTER SET utf8mb4")
        server.query(_MYSQL_TABLE, database="bench")
        return server

    @functools.cached_property
    def mariadb_tls(self) -> MariaDB:
        """Give another one that offers TLS, which PyMySQL takes whether it is told to or not."""
        return self.stack.enter_context(MariaDB(tls=True))

    @functools.cached_property
    def postgresql(self) -> PostgreSQL:
        """Give a PostgreSQL whose database ``bench`` has the table ``done``."""
        server = self.stack.enter_context(PostgreSQL(tls=True, settings={"max_connections": "400"}))
        server.query("CREATE DATABASE bench")
        server.query(_POSTGRESQL_TABLE, database="bench")
        return server

    def ask_mariadb(self, statement: str, *arguments: str) -> int:
        """Ask the database ``bench`` of MariaDB for a number."""
        with self._asking_mariadb.cursor() as cursor:
            cursor.execute(statement, arguments)
            return int(cursor.fetchone()[0])  # type: ignore[index]

    def ask_postgresql(self, statement: str, *arguments: str) -> int:
        """Ask the database ``bench`` of PostgreSQL for a number."""
        return int(self._asking_postgresql.execute(statement, arguments).fetchone()[0])  # type: ignore[index]

    @functools.cached_property
    def _asking_mariadb(self) -> pymysql.connections.Connection[Any]:
        return self.stack.enter_context(closing(self.mariadb.connect("bench", autocommit=True)))

    @functools.cached_property
    def _asking_postgresql(self) -> psycopg.Connection[Any]:
        return self.stack.enter_context(closing(self.postgresql.connect("bench", autocommit=True)))

    @functools.cached_property
    def redis(self) -> Redis:
        """Give a Redis."""
        return self.stack.enter_context(Redis(tls=True))
