"""PyMySQL: what of a session is put back between two tasks, how it is known, how it ends."""

from __future__ import annotations

import time

import pymysql
import pytest

from taskconn.drivers.pymysql import Connection
from tests.drivers.pymysql.client import driver, execute, target_in
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase


@pytest.mark.parametrize("by", ["db.autocommit(True)", "SET autocommit=1"])
def test_autocommit_switched_on_is_off_again_for_the_next_task(db: Connection, by: str) -> None:
    """`restore` puts autocommit back, whoever changed it, so that a rollback rolls back again."""
    if by.startswith("SET"):
        execute(db, by)
    else:
        db.autocommit(True)
    driver.commit(db, 1)
    assert not driver.is_as_opened(db)

    driver.restore(db)

    execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.rollback(db, 1)
    assert execute(db, "SELECT * FROM car").fetchall() == ()


def test_reset_clears_the_session_and_keeps_what_the_url_said(mysql_database: MySQLDatabase) -> None:
    """Variables, locks, tables and database of one task are gone; what the URL says is set again."""
    db = driver.open(target_in(mysql_database, init_command="SET @mark='url'", sql_mode="ANSI_QUOTES"), 5)
    for sql in ("SET @mark='task'", "SET sql_mode=''", "CREATE TEMPORARY TABLE mine (id INT)", "USE mysql"):
        execute(db, sql)
    execute(db, "SELECT GET_LOCK('lock', 0)")
    before = driver.identity(db)

    driver.reset(db, 5)

    asked = "SELECT @mark, DATABASE(), @@autocommit, @@character_set_client, @@sql_mode, IS_FREE_LOCK('lock')"
    assert execute(db, asked).fetchone() == ("url", mysql_database.name, 0, "utf8mb4", "ANSI_QUOTES", 1)
    assert str(execute(db, "SELECT CONNECTION_ID()").fetchone()[0]) == before
    with pytest.raises(pymysql.err.ProgrammingError, match="doesn't exist"):
        execute(db, "SELECT * FROM mine")
    driver.close(db, 1)


def test_identity_is_the_servers_connection_id(db: Connection) -> None:
    """The id is known from the login, without a round trip."""
    assert driver.identity(db) == str(execute(db, "SELECT CONNECTION_ID()").fetchone()[0])


def test_polite_close_is_no_aborted_client(mysql_database: MySQLDatabase) -> None:
    """The server counts a connection that says goodbye as ended, not as aborted."""
    before = mysql_database.server.status("Aborted_clients")

    db = driver.open(target_of(mysql_database.url), 5)
    driver.close(db, 1)
    while mysql_database.sessions():
        time.sleep(0.01)

    assert mysql_database.server.status("Aborted_clients") == before
