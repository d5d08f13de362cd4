"""`taskconn check`: what every alias connects to, asked from real servers; readiness probes; failures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from examples.servers import MariaDB, PostgreSQL
from taskconn import Registry, cli
from taskconn.doctor._check import check
from tests.support.databases import MySQLDatabase, PostgreSQLDatabase, RedisDatabase
from tests.support.process import Script
from tests.support.wire import Wire

Run = Callable[..., Script]


def _through(url: str, wire: Wire) -> str:
    parts = urlsplit(url)
    return url.replace(f":{parts.port}", f":{wire.port}")


def _one(url: str, **options: Any) -> dict[str, Any]:
    registry = Registry()
    registry.add("default", url, **options)
    (answer,) = check(registry, ["default"])
    return answer.as_dict()


@pytest.mark.parametrize("scheme", ["mysql", "mysql+mysqldb", "mysql+mysqlconnector", "sqlalchemy+mysql+pymysql"])
def test_mysql_says_what_it_is(mysql_database: MySQLDatabase, scheme: str) -> None:
    """Server, version, session, limits, time zone and isolation come from the server, by every client."""
    pytest.importorskip({"mysql+mysqldb": "MySQLdb", "mysql+mysqlconnector": "mysql.connector"}.get(scheme, "pymysql"))

    said = _one(mysql_database.url.replace("mysql", scheme, 1))

    version, most = mysql_database.query("SELECT VERSION(), @@max_connections")[0]
    assert said["is_ok"], said
    assert f"{said['server']} {said['version']}" == f"MariaDB {version.partition('-')[0]}"
    assert said["max_connections"] == most
    assert said["connected"] >= 1
    assert said["isolation"] == "REPEATABLE-READ"
    assert said["time_zone"]
    assert int(said["session"]) > 0
    assert said["tls"] == "none"
    assert mysql_database.sessions() == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "sqlalchemy+postgresql+psycopg"])
def test_postgresql_says_what_it_is(postgresql_database: PostgreSQLDatabase, scheme: str) -> None:
    """What superusers have for themselves is not counted as room for a fleet."""
    pytest.importorskip("psycopg2")

    said = _one(postgresql_database.url.replace("postgresql", scheme, 1))

    ((most,),) = postgresql_database.query("SELECT current_setting('max_connections')::int")
    ((kept,),) = postgresql_database.query("SELECT current_setting('superuser_reserved_connections')::int")
    assert said["is_ok"], said
    assert (said["server"], said["max_connections"]) == ("PostgreSQL", most - kept)
    assert said["isolation"] == "read committed"
    assert said["tls"] == "none"


def test_redis_and_sqlite_say_what_they_are(redis_db: RedisDatabase, tmp_path: Path) -> None:
    """What a kind of server does not have is left out."""
    (tmp_path / "cars.db").touch()

    redis, sqlite = _one(redis_db.url), _one(f"sqlite:///{tmp_path}/cars.db")

    assert (redis["server"], redis["tls"]) == ("Redis", "none")
    assert redis["version"] == redis_db.query("INFO", "server")["redis_version"]
    assert "isolation" not in redis
    assert sqlite["server"] == "SQLite"
    assert not {"tls", "session", "max_connections"} & set(sqlite)


def test_file_is_not_made(tmp_path: Path) -> None:
    """A SQLite file that is not there is a failure, and is not there afterwards either."""
    said = _one(f"sqlite:///{tmp_path}/cars.db")

    assert not said["is_ok"]
    assert f"there is no file {tmp_path}/cars.db" in said["error"]
    assert not (tmp_path / "cars.db").exists()


@pytest.fixture(scope="module")
def encrypted() -> Iterator[MariaDB]:
    """Give a MariaDB with TLS."""
    with MariaDB(tls=True) as server:
        yield server


@pytest.mark.parametrize(
    ("verify", "words"),
    [
        ("&ssl_verify_cert=true&ssl_verify_identity=true", "certificate and name verified"),
        ("&ssl_verify_cert=true&ssl_verify_identity=false", "certificate verified, but not its name"),
        (None, "not verified"),
    ],
    ids=["name", "certificate", "nothing"],
)
def test_tls_of_mysql_is_told_with_what_was_verified(encrypted: MariaDB, verify: str | None, words: str) -> None:
    """An encrypted connection to an unknown server is not taken for a safe one."""
    base = encrypted.url("mysql")
    joint = "&" if "?" in base else "?"
    said = _one(base if verify is None else f"{base}{joint}ssl_ca={encrypted.authority_path}{verify}")

    assert said["is_ok"], said
    assert said["tls"].startswith("TLSv1.")
    assert said["tls"].endswith(f", {words}")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2"])
def test_tls_of_postgresql_is_told_with_what_was_verified(private_postgresql: PostgreSQL, scheme: str) -> None:
    """The modes of PostgreSQL's library are told in the same words."""
    pytest.importorskip("psycopg2")
    url = private_postgresql.url().replace("postgresql", scheme, 1)
    joint = "&" if "?" in url else "?"

    verified = _one(f"{url}{joint}sslmode=verify-full&sslrootcert={private_postgresql.authority_path}")
    unverified = _one(f"{url}{joint}sslmode=require")

    assert verified["tls"].endswith(", certificate and name verified"), verified
    assert unverified["tls"].endswith(", not verified"), unverified


@pytest.mark.parametrize("kind", ["mysql", "postgresql", "redis"])
def test_quick_costs_one_connect_and_one_round_trip(
    mysql_database: MySQLDatabase, postgresql_database: PostgreSQLDatabase, redis_db: RedisDatabase, kind: str
) -> None:
    """A readiness probe costs what the login costs, one question and a goodbye."""
    url = {"mysql": mysql_database.url, "postgresql": postgresql_database.url, "redis": redis_db.url}[kind]
    registry = Registry()
    with Wire(urlsplit(url).port or 0) as wire:
        registry.add("default", _through(url, wire))
        pool = registry.pool("default")
        pool.driver.close(pool.driver.open(pool.target(), 10), 1)
        (login,) = wire.connections
        wire.wait_until_closed()

        (answer,) = check(registry, ["default"], is_quick=True)

        wire.wait_until_closed()
        assert answer.is_ok, answer
        assert len(wire.connections) == 2
        assert wire.connections[1].requests == login.requests + 1


def test_aliases_are_asked_at_the_same_time(mysql_database: MySQLDatabase, redis_db: RedisDatabase) -> None:
    """One that is slow to answer does not make the others wait."""
    registry = Registry()
    with Wire(urlsplit(mysql_database.url).port or 0) as slow, Wire(urlsplit(redis_db.url).port or 0) as quick:
        slow.hold_answers()
        registry.add("slow", _through(mysql_database.url, slow), connect_timeout=1)
        registry.add("quick", _through(redis_db.url, quick))

        first, second = check(registry, ["slow", "quick"], is_quick=True)

        assert (first.alias, first.is_ok) == ("slow", False)
        assert (second.alias, second.is_ok) == ("quick", True)
        assert second.connect_ms is not None
        assert second.connect_ms < 1000


def test_failure_is_told_without_secrets(
    script: Callable[..., Script], mysql_database: MySQLDatabase, tmp_path: Path
) -> None:
    """One alias that fails makes the command fail, in the driver's words; the others are told all the same."""
    url = mysql_database.url
    password = urlsplit(url).password or ""
    wrong = url.replace(f":{password}@", ":hunter2-wrong@")
    environ = {"TASKCONN_URL": url, "TASKCONN_OTHER_URL": wrong, "TASKCONN_FILE_URL": f"sqlite:///{tmp_path}/no.db"}

    command = script([sys.executable, "-m", "taskconn", "check"], environ=environ)

    assert command.wait() == 1
    lines = command.output.splitlines()
    assert any(line.startswith("default  ok  MariaDB ") for line in lines), command.output
    assert any(line.startswith("other    FAILED  ") and "Access denied" in line for line in lines), command.output
    assert "hunter2-wrong" not in command.output
    assert f":{password}@" not in command.output


def test_json_is_for_programs(mysql_database: MySQLDatabase, script: Callable[..., Script]) -> None:
    """Each alias is an object; the exit code is 0 where all are fine."""
    words = ["check", "default", "--format", "json"]
    said = script([sys.executable, "-m", "taskconn", *words], environ={"TASKCONN_URL": mysql_database.url}).succeed()

    (answer,) = json.loads(said)
    assert (answer["alias"], answer["is_ok"], answer["server"]) == ("default", True, "MariaDB")


def test_terminal_gets_a_table(
    mysql_database: MySQLDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """People get columns, with what failed as well as what is fine."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TASKCONN_URL", mysql_database.url)
    monkeypatch.setenv("TASKCONN_DOWN_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert cli.main(["check"]) == 1

    drawn = capsys.readouterr().out
    assert "┃" in drawn
    assert "MariaDB" in drawn
    assert "FAILED" in drawn


def test_without_aliases_the_command_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to check is no success: the settings were not found."""
    monkeypatch.delenv("TASKCONN_URL", raising=False)

    assert cli.main(["check"]) == cli.WRONG_USAGE
    assert "TASKCONN_URL" in capsys.readouterr().err
