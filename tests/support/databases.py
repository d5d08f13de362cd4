"""What a test gets to write to: a database of its own on a server that may serve others too."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from examples.servers import Backend, MySQLServer, PostgreSQLServer, RedisServer, Session


@dataclass(frozen=True)
class Database:
    """
    A database that exists for one test.

    Attributes:
        server: The server that it is on; private, or named in the environment.
        name: Its name.
    """

    server: Any
    name: str

    @property
    def url(self) -> str:
        """Its taskconn URL, over TCP."""
        return str(self.server.url(self.name))

    def connect(self, **arguments: Any) -> Any:
        """Open a plain connection of the client library to it; the test closes it."""
        return self.server.connect(self.name, **arguments)

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement in it on a connection of its own, commit it, and return its rows."""
        rows: list[tuple[Any, ...]] = self.server.query(sql, arguments, database=self.name)
        return rows


@dataclass(frozen=True)
class MySQLDatabase(Database):
    """A database of MariaDB or MySQL."""

    server: MySQLServer

    def wait_for(self, sql: str, rows: list[tuple[Any, ...]], timeout: float = 30.0) -> None:
        """Wait until the answer to *sql* is *rows*: a server that nobody waits for any more has done its work soon."""
        ends_at = time.monotonic() + timeout
        while (found := self.query(sql)) != rows:
            assert time.monotonic() < ends_at, found
            time.sleep(0.01)

    def sessions(self) -> list[Session]:
        """List the sessions that use it."""
        return self.server.sessions(self.name)


@contextmanager
def fresh_mysql_database(server: MySQLServer) -> Iterator[MySQLDatabase]:
    """Make a database with a new name, and drop it at the end, whatever still uses it."""
    name = f"taskconn_{uuid.uuid4().hex[:12]}"
    server.query(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    try:
        yield MySQLDatabase(server, name)
    finally:
        server.drop_database(name)


@dataclass(frozen=True)
class PostgreSQLDatabase(Database):
    """A database of PostgreSQL."""

    server: PostgreSQLServer

    def sessions(self) -> list[Backend]:
        """List the sessions that use it."""
        return self.server.sessions(self.name)


@contextmanager
def fresh_postgresql_database(server: PostgreSQLServer) -> Iterator[PostgreSQLDatabase]:
    """Make a database with a new name, and drop it at the end, whatever still uses it."""
    name = f"taskconn_{uuid.uuid4().hex[:12]}"
    server.query(f"CREATE DATABASE {name}")
    try:
        yield PostgreSQLDatabase(server, name)
    finally:
        server.drop_database(name)


@dataclass(frozen=True)
class RedisDatabase:
    """
    A numbered database that is empty when a test gets it.

    Attributes:
        server: The server that it is on; private, or named in the environment.
        number: Its number.
    """

    server: RedisServer
    number: int

    @property
    def url(self) -> str:
        """Its URL, over TCP: for a driver, a broker, or RQ."""
        return self.server.url(self.number)

    def connect(self, **arguments: Any) -> redis.Redis:
        """Make a plain redis-py client of it; the test closes it."""
        return self.server.connect(self.number, **arguments)

    def query(self, *words: str | int) -> Any:
        """Run one command in it on a connection of its own and return its reply."""
        return self.server.query(*words, db=self.number)


@contextmanager
def empty_redis_database(server: RedisServer, number: int) -> Iterator[RedisDatabase]:
    """Empty a numbered database, and again at the end."""
    server.query("FLUSHDB", db=number)
    try:
        yield RedisDatabase(server, number)
    finally:
        server.query("FLUSHDB", db=number)
