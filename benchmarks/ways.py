"""The ways to come by a connection for a task, in one process: taskconn's, and what users would pick instead."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg_pool
import redis
import sqlalchemy
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB

import taskconn

from .clients import Client

__all__ = ["THREADS", "Once", "Way", "Work", "by_taskconn", "global_connection", "ways_of"]

#: What a task does with its connection; None is nothing, so that there is nothing to commit either.
Work = Callable[[Any], object] | None

#: Runs one task.
Once = Callable[[], object]

#: Gives a function that runs one task, and closes what it has opened at the end.
Way = Callable[[Client, Work], AbstractContextManager[Once]]

#: How many threads share a contender that pools.
THREADS = 8


@contextmanager
def global_connection(client: Client, work: Work) -> Iterator[Once]:
    """A connection for each thread, made once: the floor. It commits what it has sent, and survives nothing."""
    with _per_thread(client) as get:

        def once() -> None:
            connection = get()
            if work is not None:
                work(connection)
                client.settle(connection)

        yield once


@contextmanager
def by_taskconn(client: Client, work: Work) -> Iterator[Once]:
    """`@with_db`."""
    registry = taskconn.Registry()
    handle = registry.add("default", client.url)

    @taskconn.with_db(handle)
    def once(db: Any) -> None:
        if work is not None:
            work(db)

    yield once
    registry.close()


@contextmanager
def connect_per_task(client: Client, work: Work) -> Iterator[Once]:
    """A new connection for each task."""

    def once() -> None:
        connection = client.connect()
        try:
            if work is not None:
                work(connection)
                client.settle(connection)
        finally:
            connection.close()

    yield once


@contextmanager
def pid_check_and_ping(client: Client, work: Work) -> Iterator[Once]:
    """The hand-written cure: a connection for each process and thread, and a ping before each task."""
    with _per_thread(client) as get:

        def once() -> None:
            connection = get()
            client.ping(connection)
            if work is not None:
                work(connection)
            client.settle(connection)  # for what the ping has begun, too

        yield once


def _sqlalchemy(*, pings: bool) -> Way:
    @contextmanager
    def way(client: Client, work: Work) -> Iterator[Once]:
        engine = sqlalchemy.create_engine(client.sqlalchemy_url, pool_size=THREADS, pool_pre_ping=pings)

        def once() -> None:
            with engine.connect() as connection:
                if work is not None:
                    work(connection.connection)
                    connection.connection.commit()

        yield once
        engine.dispose()

    return way


@contextmanager
def dbutils_persistent(client: Client, work: Work) -> Iterator[Once]:
    """DBUtils' PersistentDB: a connection for each thread."""
    yield _by_dbutils(PersistentDB(client.module, **client.arguments), work)


@contextmanager
def dbutils_pooled(client: Client, work: Work) -> Iterator[Once]:
    """DBUtils' PooledDB."""
    pool = PooledDB(client.module, maxcached=THREADS, **client.arguments)
    yield _by_dbutils(pool, work)
    pool.close()


def _by_dbutils(pool: Any, work: Work) -> Once:
    def once() -> None:
        connection = pool.connection()
        try:
            if work is not None:
                work(connection)
                connection.commit()
        finally:
            connection.close()

    return once


@contextmanager
def by_psycopg_pool(client: Client, work: Work) -> Iterator[Once]:
    """Psycopg's own pool."""
    pool = psycopg_pool.ConnectionPool(kwargs=client.arguments, min_size=1, max_size=THREADS, open=True)
    pool.wait()

    def once() -> None:
        with pool.connection() as connection:
            if work is not None:
                work(connection)

    yield once
    pool.close()


@contextmanager
def by_redis_pool(client: Client, work: Work) -> Iterator[Once]:
    """redis-py's own pool: a global client."""
    shared = redis.Redis(**client.arguments)

    def once() -> None:
        if work is not None:
            work(shared)

    yield once
    shared.close()


@contextmanager
def by_django(client: Client, work: Work) -> Iterator[Once]:
    """Django as Celery runs it: closed before and after each task."""
    connection = _django(client)

    def once() -> None:
        connection.close()
        if work is not None:
            from django.db import transaction  # noqa: PLC0415 -- needs its settings first

            with transaction.atomic(using=connection.alias):
                work(connection)
        connection.close()

    yield once
    connection.close()


def _django(client: Client) -> Any:
    import django  # noqa: PLC0415 -- as above
    from django.conf import settings  # noqa: PLC0415 -- as above

    if not settings.configured:
        settings.configure(DATABASES={"default": {}}, USE_TZ=True)
        django.setup()
    from django.db import connections  # noqa: PLC0415 -- as above

    names = {"NAME": "bench", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    given = {django_name: client.arguments.get(name, name) for django_name, name in names.items()}
    extra = {name: value for name, value in client.arguments.items() if name in {"ssl_mode", "sslmode"}}
    alias = f"bench-{uuid.uuid4().hex}"
    connections.settings[alias] = connections.configure_settings(
        {"default": {**given, "ENGINE": client.django, "OPTIONS": extra}}
    )["default"]
    return connections[alias]


@contextmanager
def _per_thread(client: Client) -> Iterator[Callable[[], Any]]:
    """Give a function that gives the calling thread's connection of this process, opened at its first call."""
    kept: dict[tuple[int, int], Any] = {}

    def get() -> Any:
        key = os.getpid(), threading.get_ident()
        connection = kept.get(key)
        if connection is None:
            connection = kept[key] = client.connect()
        return connection

    yield get
    for connection in kept.values():
        connection.close()


def ways_of(client: Client) -> dict[str, Way]:
    """List the contenders for *client*, the floor first."""
    ways: dict[str, Way] = {"global connection": global_connection, "taskconn": by_taskconn}
    if client.module is None:
        ways["redis-py's pool"] = by_redis_pool
    else:
        ways["SQLAlchemy pool"] = _sqlalchemy(pings=False)
        ways["SQLAlchemy pool, pre-ping"] = _sqlalchemy(pings=True)
        ways["DBUtils PersistentDB"] = dbutils_persistent
        ways["DBUtils PooledDB"] = dbutils_pooled
    if client.name == "psycopg":
        ways["psycopg_pool"] = by_psycopg_pool
    ways["pid check + ping by hand"] = pid_check_and_ping
    ways["connect per task"] = connect_per_task
    if client.django:
        ways["Django's way"] = by_django
    return ways
