"""Every pool over a driver that does nothing: what hands out a connection, and takes it back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import psycopg_pool
import sqlalchemy.pool
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB

import taskconn
from taskconn.testing import FakeDriver

__all__ = ["POOLS", "Once", "count_calls", "taskconn_lease"]

#: Takes a connection and gives it back, once.
Once = Callable[[], object]


class _Idle:
    """Say what psycopg says of a connection without a transaction."""

    transaction_status = psycopg.pq.TransactionStatus.IDLE


class _Connection:
    """Be what psycopg_pool, SQLAlchemy and DBUtils need of a connection, and do nothing."""

    closed = False
    autocommit = False
    pgconn = _Idle()

    @classmethod
    def connect(cls, *_: Any, **__: Any) -> _Connection:
        return cls()

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    def cursor(self) -> _Connection:
        return self


class _Module:
    """Be a DB-API module for DBUtils."""

    threadsafety = 1
    paramstyle = "format"
    Error = OperationalError = InterfaceError = InternalError = Exception
    connect = _Connection.connect


@contextmanager
def global_connection() -> Iterator[Once]:
    """A module's global, which any fork breaks."""
    connection = _Connection()
    yield lambda: connection


@contextmanager
def pid_check() -> Iterator[Once]:
    """The hand-written cure: one connection for each process, asked for by its pid. It settles nothing."""
    connections: dict[int, _Connection] = {}

    def once() -> _Connection:
        pid = os.getpid()
        connection = connections.get(pid)
        if connection is None:
            connection = connections[pid] = _Connection()
        return connection

    yield once


@contextmanager
def taskconn_lease() -> Iterator[Once]:
    """`with taskconn.lease()`."""
    handle = taskconn.Registry().add("default", FakeDriver())

    def once() -> None:
        with taskconn.lease(handle):
            pass

    yield once


@contextmanager
def taskconn_by_name() -> Iterator[Once]:
    """`with taskconn.lease("bench")`, with the settings of the process."""
    taskconn._registry.process_registry.add("bench", FakeDriver())

    def once() -> None:
        with taskconn.lease("bench"):
            pass

    yield once


@contextmanager
def taskconn_with_db() -> Iterator[Once]:
    """`@with_db`, called outside of tasks."""
    handle = taskconn.Registry().add("default", FakeDriver())

    @taskconn.with_db(handle)
    def once(db: Any) -> None: ...

    yield once


@contextmanager
def psycopg_pools() -> Iterator[Once]:
    """`with pool.connection()` of psycopg_pool."""
    pool: Any = psycopg_pool.ConnectionPool(connection_class=_Connection, min_size=8, max_size=8, open=True)
    pool.wait()

    def once() -> None:
        with pool.connection():
            pass

    yield once
    pool.close()


@contextmanager
def sqlalchemy_pool() -> Iterator[Once]:
    """`QueuePool.connect()` and `close()` of SQLAlchemy, below the engine."""
    pool = sqlalchemy.pool.QueuePool(_Connection.connect, pool_size=8)  # type: ignore[arg-type]

    def once() -> None:
        pool.connect().close()

    yield once
    pool.dispose()


@contextmanager
def dbutils_pooled() -> Iterator[Once]:
    """`PooledDB.connection()` and `close()` of DBUtils, which rolls back at each."""
    pool = PooledDB(_Module, maxcached=8)

    def once() -> None:
        pool.connection().close()

    yield once
    pool.close()


@contextmanager
def dbutils_persistent() -> Iterator[Once]:
    """`PersistentDB.connection()` and `close()` of DBUtils."""
    pool = PersistentDB(_Module)

    def once() -> None:
        pool.connection().close()

    yield once


POOLS: Mapping[str, Callable[[], AbstractContextManager[Once]]] = {
    "taskconn.lease(handle)": taskconn_lease,
    'taskconn.lease("name")': taskconn_by_name,
    "@taskconn.with_db": taskconn_with_db,
    "psycopg_pool": psycopg_pools,
    "SQLAlchemy QueuePool": sqlalchemy_pool,
    "DBUtils PooledDB": dbutils_pooled,
    "DBUtils PersistentDB": dbutils_persistent,
    "pid check by hand": pid_check,
    "global connection": global_connection,
}


def count_calls(once: Once) -> int:
    """Count the calls of Python functions in one *once*, without itself and without those of the fake driver."""
    calls = 0

    def note(frame: Any, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename != __file__

    once()
    sys.setprofile(note)
    once()
    sys.setprofile(None)
    return calls
