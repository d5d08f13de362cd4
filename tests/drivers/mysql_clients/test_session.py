"""mysqlclient and mysql-connector-python: what of a session is put back between two tasks, and how it ends."""

from __future__ import annotations

import time
from typing import Any

import pytest

from taskconn.driver import Driver
from tests.drivers.mysql_clients.clients import each_client, execute, rows
from tests.drivers.rows import Row, target_of
from tests.support.databases import MySQLDatabase

pytestmark = each_client


@pytest.mark.parametrize("by", ["method", "SET autocommit=1"])
def test_autocommit_switched_on_is_off_again_for_the_next_task(row: Row, driver: Driver[Any], db: Any, by: str) -> None:
    """`restore` puts autocommit back, whoever changed it, so that a rollback rolls back again."""
    if by.startswith("SET"):
        execute(db, by)
    elif row.name == "mysqldb":
        db.autocommit(True)
    else:
        db.autocommit = True
    driver.commit(db, 1)
    assert not driver.is_as_opened(db)

    driver.restore(db)

    execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.rollback(db, 1)
    assert rows(db, "SELECT * FROM car") == []


def test_reset_clears_the_session_and_keeps_what_the_url_said(
    driver: Driver[Any], mysql_database: MySQLDatabase
) -> None:
    """Variables, locks, tables and database of one task are gone; what the URL says is set again."""
    query = {"init_command": "SET @mark='url'", "sql_mode": "ANSI_QUOTES", "charset": "utf8mb4"}
    query["collation"] = "utf8mb4_bin"
    db = driver.open(target_of(mysql_database.url, query=query), 5)
    for sql in ("SET @mark='task'", "SET sql_mode=''", "CREATE TEMPORARY TABLE mine (id INT)", "USE mysql"):
        execute(db, sql)
    assert rows(db, "SELECT GET_LOCK('lock', 0)") == [(1,)]
    before = driver.identity(db)

    driver.reset(db, 5)

    asked = "SELECT @mark, DATABASE(), @@autocommit, @@collation_connection, @@sql_mode, IS_FREE_LOCK('lock')"
    assert rows(db, asked) == [("url", mysql_database.name, 0, "utf8mb4_bin", "ANSI_QUOTES", 1)]
    assert str(rows(db, "SELECT CONNECTION_ID()")[0][0]) == before
    with pytest.raises(driver.errors, match="doesn't exist"):
        execute(db, "SELECT * FROM mine")
    driver.close(db, 1)


def test_polite_close_is_no_aborted_client(driver: Driver[Any], mysql_database: MySQLDatabase) -> None:
    """The server counts a connection that says goodbye as ended, not as aborted."""
    before = mysql_database.server.status("Aborted_clients")

    db = driver.open(target_of(mysql_database.url), 5)
    driver.close(db, 1)
    while mysql_database.sessions():
        time.sleep(0.01)

    assert mysql_database.server.status("Aborted_clients") == before
