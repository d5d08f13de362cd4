"""PyMySQL: one TLS context for an alias, and none where there is no TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pymysql
import pytest
import trustme

from examples.servers import MariaDB
from taskconn.drivers.pymysql import Connection, PyMySQL
from tests.drivers.pymysql.client import driver, execute
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase


def _cipher(db: Connection) -> str:
    return str(execute(db, "SHOW STATUS LIKE 'Ssl_cipher'").fetchone()[1])


def test_no_tls_context_is_made_for_a_server_without_tls(mysql_database: MySQLDatabase) -> None:
    """Opening plain costs no TLS context: that is 25 ms of PyMySQL's 26."""
    fresh = PyMySQL()
    connections = [fresh.open(target_of(mysql_database.url), 5) for _ in range(2)]

    assert repr(fresh._tls) == "<Tls unused>"
    for db in connections:
        assert _cipher(db) == ""
        fresh.close(db, 1)


def test_tls_context_is_made_once_for_an_alias(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of all connections of an alias the first one makes the context, and certificates are checked as the URL says."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    made = []
    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: made.append(1) or original(*a, **k))
    with MariaDB(tls=True) as server:
        ways = {
            "ssl_ca": server.tls_url("mysql"),
            "identity": f"{server.tls_url('mysql')}&ssl_verify_identity=true",
        }
        if pymysql.VERSION >= (1, 2):
            ways["preferred"] = server.url("mysql")
        for way, url in ways.items():
            made.clear()
            alias = PyMySQL()
            for _ in range(3):
                db = alias.open(target_of(url), 5)
                assert _cipher(db), way
                alias.close(db, 1)
            assert len(made) == 1, way

        stranger = PyMySQL()
        for _ in range(2):
            with pytest.raises(pymysql.err.OperationalError, match="certificate verify failed"):
                stranger.open(
                    target_of(f"{server.url('mysql')}?ssl_ca={tmp_path}/stranger.pem&ssl_verify_cert=true"), 5
                )
        disabled = PyMySQL().open(target_of(f"{server.url('mysql')}?ssl_disabled=1"), 5)
        assert _cipher(disabled) == ""
        driver.close(disabled, 1)


def test_tls_that_is_asked_for_is_not_done_without(mysql_database: MySQLDatabase) -> None:
    """A server without TLS is refused where the URL wants TLS, at the second connect as at the first."""
    alias = PyMySQL()

    for _ in range(2):
        with pytest.raises(pymysql.err.OperationalError, match="SSL is required"):
            alias.open(target_of(mysql_database.url, connect_args={"ssl": ssl.create_default_context()}), 5)
