"""What a test gets to write to: a database of its own on a server that may serve others too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql
import redis

from examples.servers import Backend, MariaDB, MySQLServer, PostgreSQL, PostgreSQLServer, RedisServer, Session


@dataclass(frozen=True)
class MySQLDatabase:
    """
    A database that exists for one test.

    Attributes:
        server: The server that it is on; private, or named in the environment.
        name: Its name.
    """

    server: MySQLServer
    name: str

    @property
    def url(self) -> str:
        """Its taskconn URL, over TCP."""
        return self.server.url(self.name)

    @property
    def unix_url(self) -> str:
        """Its taskconn URL, over the Unix socket; only on a private server."""
        assert isinstance(self.server, MariaDB), "a server that is named in the environment is reached over TCP alone"
        return self.server.unix_url(self.name)

    def connect(self, **arguments: Any) -> pymysql.connections.Connection[Any]:
        """Open a plain PyMySQL connection to it; the test closes it."""
        return self.server.connect(self.name, **arguments)

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement in it on a connection of its own, commit it, and return its rows."""
        return self.server.query(sql, arguments, database=self.name)

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
class PostgreSQLDatabase:
    """
    A database that exists for one test.

    Attributes:
        server: The server that it is on; private, or named in the environment.
        name: Its name.
    """

    server: PostgreSQLServer
    name: str

    @property
    def url(self) -> str:
        """Its taskconn URL, over TCP."""
        return self.server.url(self.name)

    @property
    def unix_url(self) -> str:
        """Its taskconn URL, over the Unix socket; only on a private server."""
        assert isinstance(self.server, PostgreSQL), (
            "a server that is named in the environment is reached over TCP alone"
        )
        return self.server.unix_url(self.name)

    def connect(self, **arguments: Any) -> psycopg.Connection[Any]:
        """Open a plain psycopg connection to it; the test closes it."""
        return self.server.connect(self.name, **arguments)

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement in it on a connection of its own, commit it, and return its rows."""
        return self.server.query(sql, arguments, database=self.name)

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
