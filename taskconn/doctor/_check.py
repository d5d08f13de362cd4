"""Connects to every alias and asks what its server is: version, encryption, limits; or only whether it answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._pool import Pool
from .._pooled import Pooled
from .._registry import Registry
from ..config import redact
from ..driver import Driver, Target
from ..errors import ConnectionFailedError, TaskconnError
from ..options import Options

__all__ = ["Answer", "check", "without_secrets"]

#: Most aliases that are asked at a time.
_MOST_AT_ONCE = 16

#: What MySQL and MariaDB of all versions answer with names and values; the isolation level has had two names.
_MYSQL = (
    (
        "SHOW VARIABLES WHERE Variable_name IN "
        "('version', 'version_comment', 'max_connections', 'time_zone', 'system_time_zone', "
        "'tx_isolation', 'transaction_isolation')"
    ),
    "SHOW STATUS WHERE Variable_name IN ('Ssl_cipher', 'Ssl_version', 'Threads_connected')",
)

#: The same for PostgreSQL.
_POSTGRESQL = (
    (
        "SELECT name, setting FROM pg_settings WHERE name IN ('server_version', 'max_connections', "
        "'superuser_reserved_connections', 'TimeZone', 'transaction_isolation')"
    ),
    "SELECT 'connected', count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
)


@dataclass
class Answer:
    """
    Tell what an alias connects to, as far as its kind of server has it; never a secret.

    Attributes:
        alias: Name of the connection.
        driver: Package of its client library; "" if it is Python's.
        address: Where it leads.
        is_ok: Did it connect, and did the server answer?
        error: What was wrong otherwise.
        server, version: ``"MariaDB"``, ``"10.11.6"``.
        tls: ``"TLSv1.3, certificate and name verified"``, ``"none"``; "" if nobody knows, or if there is no wire.
        connect_ms: Time to connect and log in, in milliseconds.
        latency_ms: One round trip, in milliseconds.
        session: The server's id of it.
        max_connections: What the server admits to everybody, without what it reserves for its superusers.
        connected: How many of them are in use, this one included.
        time_zone, isolation: The defaults of its transactions.
    """

    alias: str
    driver: str = ""
    address: str = ""
    is_ok: bool = False
    error: str = ""
    server: str = ""
    version: str = ""
    tls: str = ""
    connect_ms: float | None = None
    latency_ms: float | None = None
    session: str = ""
    max_connections: int | None = None
    connected: int | None = None
    time_zone: str = ""
    isolation: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give what is known by its name."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


def check(registry: Registry, aliases: Iterable[str], *, is_quick: bool = False) -> list[Answer]:
    """
    Connect to each of *aliases*, all at once, and close again. Nothing is written.

    Args:
        registry: Where they are looked up.
        aliases: Their names.
        is_quick: One connect and one round trip each, nothing more.

    Returns:
        An answer for each of them, in their order; what fails is told there.
    """
    names = list(aliases)
    with ThreadPoolExecutor(max(1, min(len(names), _MOST_AT_ONCE)), "taskconn-check") as executor:
        return list(executor.map(lambda alias: _ask(registry, alias, is_quick=is_quick), names))


def _ask(registry: Registry, alias: str, *, is_quick: bool) -> Answer:
    answer = Answer(alias)
    target: Target | None = None
    try:
        pool = registry.pool(alias)
        target = pool.target()
        answer.driver, answer.address = getattr(pool.driver, "package", ""), target.address
        if pool.driver.resource(target) is not None and not Path(str(pool.driver.resource(target))).exists():
            answer.error = f"there is no file {pool.driver.resource(target)}; the first connection of a task makes it"
            return answer
        _connect(_impatient(pool), answer, is_quick=is_quick)
    except Exception as error:  # noqa: BLE001 -- errors of many libraries; one alias must not hide the others
        answer.error = without_secrets(_words(error), target)
    return answer


def _words(error: Exception) -> str:
    """Say what was wrong in a line: the driver's own words where it could not connect."""
    if isinstance(error, ConnectionFailedError):
        return error.reason
    words = str(error) if isinstance(error, TaskconnError) else f"{type(error).__name__}: {error}"
    return " ".join(words.split())


def without_secrets(words: str, target: Target | None) -> str:
    """Take the password of *target*, and those that stand in URLs, out of *words*."""
    return redact(words if target is None else target.without_secrets(words))


def _impatient(pool: Pool[Any]) -> Pool[Any]:
    """Make a pool of the same alias that tries to connect once, and is not what tasks lease from."""
    given = {**pool.options.as_dict(), "connect_retry": 0, "max_connect_rate": None, "max_size": None}
    return Pool(pool.alias, pool.driver, pool.target, Options(**given))


def _connect(pool: Pool[Any], answer: Answer, *, is_quick: bool) -> None:
    started = time.monotonic()
    pooled = pool.acquire("taskconn check")
    try:
        answer.connect_ms = _since(started)
        answer.session = pooled.identity or ""
        if pooled.identity is None or not is_quick:  # else the pool has asked for it
            started = time.monotonic()
            if not pool.driver.is_alive(pooled.connection, pool.options.connect_timeout):
                answer.error = "the server does not answer"
                return
            answer.latency_ms = _since(started)
        answer.is_ok = True
        if not is_quick:
            from ._encryption import encryption  # noqa: PLC0415 -- a probe does without ssl

            answer.tls = encryption(pool.driver, pooled.connection)
            _describe(pool, pooled, answer)
    finally:
        pool.close(pooled)


def _describe(pool: Pool[Any], pooled: Pooled[Any], answer: Answer) -> None:
    """Ask for what a kind of server has; an account that may not know it has connected all the same."""
    driver, connection = pool.driver, pooled.connection
    try:
        if driver.dialect == "mysql":
            _take_mysql(_settings(driver, connection, _MYSQL, pool.options.connect_timeout), answer)
        elif driver.dialect == "postgresql":
            _take_postgresql(_settings(driver, connection, _POSTGRESQL, pool.options.connect_timeout), answer)
        elif driver.dialect == "sqlite":
            rows, _ = driver.run(connection, "SELECT sqlite_version()")
            answer.server, answer.version = "SQLite", str(rows[0][0])
        elif callable(getattr(connection, "info", None)) and driver.package == "redis":
            _take_redis(connection.info(), answer)
    except Exception as error:
        if not isinstance(error, (*driver.errors, NotImplementedError)):
            raise


def _settings(driver: Driver[Any], connection: Any, statements: Sequence[str], timeout_s: float) -> dict[str, str]:
    rows = [row for statement in statements for row in driver.ask(connection, statement, timeout_s)]
    return {_text(name): _text(value) for name, value in rows}


def _take_mysql(found: Mapping[str, str], answer: Answer) -> None:
    version, comment = found.get("version", ""), found.get("version_comment", "")
    answer.server = "MariaDB" if "mariadb" in f"{version} {comment}".lower() else "MySQL"
    answer.version = version.partition("-")[0]
    answer.max_connections = _number(found.get("max_connections"))
    answer.connected = _number(found.get("Threads_connected"))
    zone = found.get("time_zone", "")
    answer.time_zone = f"SYSTEM ({found.get('system_time_zone', '')})" if zone == "SYSTEM" else zone
    answer.isolation = found.get("transaction_isolation") or found.get("tx_isolation", "")
    if not answer.tls:
        protocol = found.get("Ssl_version", "")
        answer.tls = f"{protocol}, nobody knows whether verified" if protocol else "none"


def _take_postgresql(found: Mapping[str, str], answer: Answer) -> None:
    answer.server, answer.version = "PostgreSQL", found.get("server_version", "").partition(" ")[0]
    most = _number(found.get("max_connections"))
    answer.max_connections = (
        None if most is None else most - (_number(found.get("superuser_reserved_connections")) or 0)
    )
    answer.connected = _number(found.get("connected"))
    answer.time_zone, answer.isolation = found.get("TimeZone", ""), found.get("transaction_isolation", "")


def _take_redis(found: Mapping[str, Any], answer: Answer) -> None:
    answer.server = "Valkey" if found.get("valkey_version") else "Redis"
    answer.version = str(found.get("valkey_version") or found.get("redis_version", ""))
    answer.max_connections = _number(found.get("maxclients"))
    answer.connected = _number(found.get("connected_clients"))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> int | None:
    return int(value) if str(value).isdigit() else None


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 2)
