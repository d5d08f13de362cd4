"""What it takes to open a connection: each client library by itself, and through taskconn; plain, and with TLS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import MySQLdb
import psycopg
import pymysql
import redis

import taskconn
from examples.servers import MariaDB

from ..harness import Case, Column, Contender, Measure, Table
from ..stage import Stage

#: Opens a connection until the server has answered the login.
Open = Callable[[], Any]


def _stock(connect: Open, times: int) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        yield lambda: _time(connect, times)

    return contender


def _by_taskconn(url: str, times: int) -> Contender:
    """Measure `Driver.open`, with the same target each time: what a pool of that alias calls."""

    @contextmanager
    def contender() -> Iterator[Measure]:
        registry = taskconn.Registry()
        registry.add("default", url)
        pool = registry.pool("default")

        def connect() -> Any:
            connection = pool.driver.open(pool.target(), 5.0)
            if isinstance(connection, redis.Redis):
                connection.ping()
            return connection

        yield lambda: _time(connect, times)

    return contender


def _time(connect: Open, times: int) -> Mapping[str, float]:
    """Give the milliseconds of an open, by the clock and of CPU; closing is not counted."""
    repeat = range(times)
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    opened = [connect() for _ in repeat]
    wall_ms = (time.perf_counter_ns() - wall) / times / 1e6
    cpu_ms = (time.process_time_ns() - cpu) / times / 1e6
    for connection in opened:
        connection.close()
    return {"wall_ms": wall_ms, "cpu_ms": cpu_ms}


def cases(stage: Stage) -> Iterator[Case]:
    """Give each library, plain and with TLS, whose certificate is verified by both contenders."""
    times = stage.times(20)
    for name, (connect, url) in {**_mysql(stage), **_postgresql(stage), **_redis_rows(stage)}.items():
        yield Case(name, {"the library's own": _stock(connect, times), "taskconn": _by_taskconn(url, times)})


def _mysql(stage: Stage) -> dict[str, tuple[Open, str]]:
    def arguments(server: MariaDB, **more: Any) -> dict[str, Any]:
        return {"host": server.host, "port": server.port, "user": server.user, "password": server.password, **more}

    plain, tls = stage.mariadb, stage.mariadb_tls
    authority = str(tls.authority_path)
    return {
        "PyMySQL, plain": (lambda: pymysql.connect(**arguments(plain)), plain.url()),
        "PyMySQL, TLS": (
            lambda: pymysql.connect(**arguments(tls, ssl_ca=authority, ssl_verify_cert=True)),
            tls.tls_url(),
        ),
        "mysqlclient, plain": (
            lambda: MySQLdb.connect(**arguments(plain, ssl_mode="DISABLED")),
            plain.url().replace("mysql:", "mysql+mysqldb:") + "?ssl_mode=DISABLED",
        ),
        "mysqlclient, TLS": (
            lambda: MySQLdb.connect(**arguments(tls, ssl_mode="VERIFY_CA", ssl={"ca": authority})),
            tls.url().replace("mysql:", "mysql+mysqldb:") + f"?ssl_ca={quote(authority)}",
        ),
    }


def _postgresql(stage: Stage) -> dict[str, tuple[Open, str]]:
    server = stage.postgresql
    plain_url, tls_url = f"{server.url('bench')}?sslmode=disable", server.tls_url("bench")
    return {
        "psycopg, plain": (lambda: psycopg.connect(plain_url), plain_url),
        "psycopg, TLS": (lambda: psycopg.connect(tls_url), tls_url),
    }


def _redis_rows(stage: Stage) -> dict[str, tuple[Open, str]]:
    server = stage.redis
    return {
        "redis-py, plain": (lambda: _redis(server.url()), server.url()),
        "redis-py, TLS": (lambda: _redis(server.tls_url()), server.tls_url()),
    }


def _redis(url: str) -> redis.Redis:
    client = redis.Redis.from_url(url, single_connection_client=True)
    client.ping()  # it may connect only with the first command
    return client


TABLE = Table(
    name="opening",
    title="Opening a connection",
    text="""
Connect and log in over TCP on one machine; closing is not counted. Through taskconn it is what a pool does: the
driver's `open`, with the alias's label and time limits. With TLS the server's certificate is verified. PyMySQL makes a
TLS context for every connection, for plain ones too; taskconn makes one for each alias, when a server wants it.
""",
    columns=(Column("wall_ms", "ms", 2), Column("cpu_ms", "ms of CPU", 2)),
    cases=cases,
    rounds=7,
)
