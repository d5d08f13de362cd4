"""The client libraries as the tables use them: how to connect, what a task does, how its rows are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import MySQLdb
import psycopg
import pymysql
import redis

from .stage import Stage

__all__ = ["Client", "mysqlclient_client", "psycopg_client", "pymysql_client", "redis_client"]


@dataclass(frozen=True)
class Client:
    """
    Hold what contenders need of one client library and its server.

    Attributes:
        name: Of the library.
        module: Its DB-API module; None for Redis.
        arguments: What its ``connect`` gets.
        connect: Opens a connection.
        settle: Commits; nothing for Redis.
        ping: Asks whether the server is there, as its manual says.
        select: ``SELECT 1``, or GET.
        insert: Writes a row in the name of a contender; or RPUSH.
        count: Counts the rows of a contender, over another connection.
        url: URL for taskconn.
        sqlalchemy_url: URL for SQLAlchemy; "" for Redis.
        django: Engine of Django; "" if it has none for this library.
    """

    name: str
    module: ModuleType | None
    arguments: dict[str, Any]
    connect: Callable[[], Any]
    settle: Callable[[Any], object]
    ping: Callable[[Any], object]
    select: Callable[[Any], object]
    insert: Callable[[Any, str], object]
    count: Callable[[str], int]
    url: str
    sqlalchemy_url: str = ""
    django: str = ""


def _select(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    cursor.fetchall()
    cursor.close()


def _insert(connection: Any, who: str) -> None:
    cursor = connection.cursor()
    cursor.execute("INSERT INTO done (who) VALUES (%s)", (who,))
    cursor.close()


def _commit(connection: Any) -> None:
    connection.commit()


def pymysql_client(stage: Stage, port: int | None = None) -> Client:
    """Give PyMySQL and the run's MariaDB, reached by *port* if it is given."""
    server = stage.mariadb
    arguments = {
        "host": server.host,
        "port": port or server.port,
        "user": server.user,
        "password": server.password,
        "database": "bench",
    }
    address = f"{server.user}:{server.password}@{server.host}:{port or server.port}/bench"
    return Client(
        name="PyMySQL",
        module=pymysql,
        arguments=arguments,
        connect=lambda: pymysql.connect(**arguments),
        settle=_commit,
        ping=lambda connection: connection.ping(reconnect=False),
        select=_select,
        insert=_insert,
        count=lambda who: _count_mysql(stage, who),
        url=f"mysql://{address}",
        sqlalchemy_url=f"mysql+pymysql://{address}",
    )


def mysqlclient_client(stage: Stage, port: int | None = None) -> Client:
    """Give mysqlclient and the run's MariaDB, reached by *port* if it is given."""
    server = stage.mariadb
    arguments = {
        "host": server.host,
        "port": port or server.port,
        "user": server.user,
        "password": server.password,
        "database": "bench",
        "ssl_mode": "DISABLED",
    }
    address = f"{server.user}:{server.password}@{server.host}:{port or server.port}/bench?ssl_mode=DISABLED"
    return Client(
        name="mysqlclient",
        module=MySQLdb,
        arguments=arguments,
        connect=lambda: MySQLdb.connect(**arguments),
        settle=_commit,
        ping=lambda connection: connection.ping(),
        select=_select,
        insert=_insert,
        count=lambda who: _count_mysql(stage, who),
        url=f"mysql+mysqldb://{address}",
        sqlalchemy_url=f"mysql+mysqldb://{address}",
        django="django.db.backends.mysql",
    )


def psycopg_client(stage: Stage, port: int | None = None) -> Client:
    """Give psycopg and the run's PostgreSQL, reached by *port* if it is given."""
    server = stage.postgresql
    arguments = {
        "host": server.host,
        "port": port or server.port,
        "user": server.user,
        "password": server.password,
        "dbname": "bench",
        "sslmode": "disable",
    }
    address = f"{server.user}:{server.password}@{server.host}:{port or server.port}/bench?sslmode=disable"

    def ping(connection: psycopg.Connection[Any]) -> None:
        connection.execute("SELECT 1")

    return Client(
        name="psycopg",
        module=psycopg,
        arguments=arguments,
        connect=lambda: psycopg.connect(**arguments),  # type: ignore[arg-type]
        settle=_commit,
        ping=ping,
        select=_select,
        insert=_insert,
        count=lambda who: stage.ask_postgresql("SELECT COUNT(*) FROM done WHERE who = %s", who),
        url=f"postgresql://{address}",
        sqlalchemy_url=f"postgresql+psycopg://{address}",
        django="django.db.backends.postgresql",
    )


def redis_client(stage: Stage, port: int | None = None) -> Client:
    """Give redis-py and the run's Redis, reached by *port* if it is given."""
    server = stage.redis
    arguments = {"host": server.host, "port": port or server.port}
    return Client(
        name="redis-py",
        module=None,
        arguments=arguments,
        connect=lambda: redis.Redis(**arguments, single_connection_client=True),
        settle=lambda _: None,
        ping=lambda connection: connection.ping(),
        select=lambda connection: connection.get("who"),
        insert=lambda connection, who: connection.rpush(who, 1),
        count=lambda who: int(server.query("LLEN", who)),
        url=f"redis://{server.host}:{port or server.port}/0",
    )


def _count_mysql(stage: Stage, who: str) -> int:
    return stage.ask_mariadb("SELECT COUNT(*) FROM done WHERE who = %s", who)
