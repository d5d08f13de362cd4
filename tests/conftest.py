"""Fixtures for all tests: private servers, a database of one's own, programs in processes of their own."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

if sys.platform == "win32":
    collect_ignore_glob = ["servers/*", "support/*"]  # they start servers, which have no Windows build

from examples.servers import (
    MariaDB,
    MySQLServer,
    PgBouncer,
    PostgreSQL,
    PostgreSQLServer,
    PrivateServer,
    Redis,
    RedisServer,
    ServerMissingError,
)
from taskconn import Registry, _registry
from taskconn._context import TaskContext
from tests.support.clocks import Clock, Stage
from tests.support.core import task_system
from tests.support.databases import (
    MySQLDatabase,
    PostgreSQLDatabase,
    RedisDatabase,
    empty_redis_database,
    fresh_mysql_database,
    fresh_postgresql_database,
)
from tests.support.process import Script
from tests.support.wire import Wire

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; the programs of the tests inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Servers of the developer's own, to be used instead of private ones. What they hold may be overwritten.
_MYSQL_URL = os.environ.get("TASKCONN_TEST_MYSQL_URL")
_POSTGRESQL_URL = os.environ.get("TASKCONN_TEST_POSTGRESQL_URL")
_REDIS_URL = os.environ.get("TASKCONN_TEST_REDIS_URL")

ServerT = TypeVar("ServerT", bound=PrivateServer)


def _start(server: ServerT) -> ServerT:
    """Start *server*; where it is not installed, skip on a laptop and fail where everything has to be there."""
    try:
        server.start()
    except ServerMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI=true, and a test would be skipped: {error}", pytrace=False)
        pytest.skip(str(error))
    return server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MySQLServer]:
    """Give the session's MariaDB: the one named in TASKCONN_TEST_MYSQL_URL, else a private one; it is left running."""
    if _MYSQL_URL:
        yield MySQLServer(_MYSQL_URL)
        return
    with _start(MariaDB()) as server:
        yield server


@pytest.fixture
def private_mariadb() -> Iterator[MariaDB]:
    """Give a MariaDB that belongs to the test: it may be killed, paused, restarted. Takes a second to start."""
    with _start(MariaDB()) as server:
        yield server


@pytest.fixture
def mysql_database(mariadb: MySQLServer) -> Iterator[MySQLDatabase]:
    """Give a fresh database; it is dropped after the test."""
    with fresh_mysql_database(mariadb) as database:
        yield database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """Give the session's PostgreSQL: that of TASKCONN_TEST_POSTGRESQL_URL, else a private one; it is left running."""
    if _POSTGRESQL_URL:
        yield PostgreSQLServer(_POSTGRESQL_URL)
        return
    with _start(PostgreSQL()) as server:
        yield server


@pytest.fixture
def private_postgresql() -> Iterator[PostgreSQL]:
    """Give a PostgreSQL with TLS that belongs to the test: it may be killed, paused, restarted. Takes a second."""
    with _start(PostgreSQL(tls=True)) as server:
        yield server


@pytest.fixture
def postgresql_database(postgresql: PostgreSQLServer) -> Iterator[PostgreSQLDatabase]:
    """Give a fresh database; it is dropped after the test."""
    with fresh_postgresql_database(postgresql) as database:
        yield database


@pytest.fixture
def pgbouncer(postgresql: PostgreSQLServer) -> Iterator[PgBouncer]:
    """Give a PgBouncer in transaction mode, in front of the session's PostgreSQL."""
    with _start(PgBouncer(postgresql)) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Give the session's Redis: the one named in TASKCONN_TEST_REDIS_URL, else a private one; it is left running."""
    if _REDIS_URL:
        yield RedisServer(_REDIS_URL)
        return
    with _start(Redis()) as server:
        yield server


@pytest.fixture
def private_redis() -> Iterator[Redis]:
    """Give a Redis that belongs to the test: it may be killed, paused, restarted."""
    with _start(Redis()) as server:
        yield server


#: A private Redis has 64 databases. Number 0 is left to what forgets to name one.
_numbers = itertools.cycle(range(1, 64))


@pytest.fixture
def redis_db(redis_server: RedisServer) -> Iterator[RedisDatabase]:
    """Give an empty Redis database; of a server from the environment it is the one that its URL names."""
    number = int(urlsplit(_REDIS_URL).path.strip("/") or 0) if _REDIS_URL else next(_numbers)
    with empty_redis_database(redis_server, number) as database:
        yield database


@pytest.fixture
def tasks() -> Iterator[list[TaskContext]]:
    """Give the list of running tasks of a task system."""
    with task_system() as running:
        yield running


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Give an empty registry in the place of the process's."""
    registry = Registry(below=_registry.environment)
    for module in ("taskconn", "taskconn._registry"):
        monkeypatch.setattr(f"{module}.process_registry", registry)
    return registry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock of all pools."""
    return Clock(monkeypatch)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Give the clock of every pace."""
    return Stage(monkeypatch)


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """
    Give a function that starts programs, with the arguments of `Script`; all are killed after the test.

    A first argument that is a string is Python source for a fresh interpreter, a list is a command.
    """
    started: list[Script] = []

    def start(command: str | list[str], *arguments: str, **options: Any) -> Script:
        words = [sys.executable, "-c", command] if isinstance(command, str) else command
        options.setdefault("log_path", tmp_path / f"script-{len(started)}.log")
        started.append(Script([*words, *arguments], **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    """Give a function that puts a counting proxy in front of a server: ``wire(server)``, or ``wire(port)``."""
    opened: list[Wire] = []

    def put(server: MySQLServer | PostgreSQLServer | RedisServer | int, host: str = "127.0.0.1") -> Wire:
        port, host = (server, host) if isinstance(server, int) else (server.port, server.host)
        opened.append(Wire(port, host))
        return opened[-1]

    yield put
    for one in opened:
        one.close()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep settings of the shell away from the code under test: TASKCONN_URL and the like."""
    for name in list(os.environ):
        if name.startswith("TASKCONN_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    """Take away what a test has configured for this whole process, or by its environment: the next one has none."""
    yield
    process = _registry.process_registry
    process._explicit.clear()
    for alias in list(process._pools):
        process._refresh(alias)
