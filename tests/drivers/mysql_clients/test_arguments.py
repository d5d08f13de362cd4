"""mysqlclient and mysql-connector-python: what the URL says, and what the server sees."""

from __future__ import annotations

import os
from typing import Any

import pytest

from examples.servers import MariaDB
from taskconn.driver import Driver
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options
from tests.drivers.mysql_clients.clients import each_client, rows, url_of
from tests.drivers.rows import Row, target_of
from tests.support.databases import MySQLDatabase

pytestmark = each_client


def test_defaults_are_utf8mb4_and_no_autocommit(db: Any) -> None:
    """Without a word in the URL the connection speaks all of Unicode and commits nothing by itself."""
    assert rows(db, "SELECT @@character_set_client, @@autocommit") == [("utf8mb4", 0)]


def test_autocommit_needs_transaction_none(driver: Driver[Any], mysql_database: MySQLDatabase) -> None:
    """Where the lease is to roll back, autocommit is refused; with transaction="none" it is the task's own."""
    query = {"autocommit": "1"}
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target_of(mysql_database.url, query=query))

    db = driver.open(target_of(mysql_database.url, query=query, options=Options(transaction="none")), 5)
    assert rows(db, "SELECT @@autocommit") == [(1,)]
    driver.close(db, 1)


def test_unix_socket_of_the_url_is_used(row: Row, driver: Driver[Any], tls_server: MariaDB) -> None:
    """`unix_socket` is the library's own name, and wins over the host."""
    db = driver.open(target_of(tls_server.unix_url("cars").replace("mysql://", f"mysql+{row.name}://")), 5)

    assert rows(db, "SELECT SUBSTRING_INDEX(USER(), '@', -1)") == [("localhost",)]
    driver.close(db, 1)


def test_server_shows_the_process_of_a_session(row: Row, driver: Driver[Any], tls_server: MariaDB) -> None:
    """There is no argument for a label in mysqlclient; its library tells the process id by itself."""
    db = driver.open(target_of(url_of(row, tls_server, "plain")), 5)
    asked = "SELECT ATTR_NAME, ATTR_VALUE FROM performance_schema.session_connect_attrs"
    found = dict(rows(db, f"{asked} WHERE PROCESSLIST_ID=CONNECTION_ID()"))
    driver.close(db, 1)

    assert found["_pid"] == str(os.getpid())
    if row.name == "mysqlconnector":
        assert found["program_name"].startswith("taskconn:default:")
