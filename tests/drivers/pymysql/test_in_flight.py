"""PyMySQL: what is in flight on a connection, from before the first byte to the last row."""

from __future__ import annotations

import pymysql
import pymysql.cursors
import pytest

from taskconn.drivers.pymysql import Connection
from tests.drivers.pymysql.client import driver, execute, target_in
from tests.support.databases import MySQLDatabase
from tests.support.stopwatch import Stopwatch


def test_reply_is_pending_from_before_the_first_byte(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker is set before anything is sent, so that an interrupt while sending is one in flight."""
    seen = []
    monkeypatch.setattr(db, "_write_bytes", lambda data: seen.append(db.session.pending) or db._sock.sendall(data))

    execute(db, "SELECT 1")

    assert seen == [True]
    assert not driver.has_pending_reply(db)


def test_error_of_the_server_leaves_nothing_pending(db: Connection) -> None:
    """A statement that the server refuses has been answered."""
    with pytest.raises(pymysql.err.ProgrammingError, match="syntax"):
        execute(db, "SELEC 1")

    assert not driver.has_pending_reply(db)
    assert execute(db, "SELECT 1").fetchall() == ((1,),)


def test_statement_that_cannot_be_encoded_is_not_sent(mysql_database: MySQLDatabase) -> None:
    """What fails before the first byte is no interrupt: the connection stays as it was."""
    connection = driver.open(target_in(mysql_database, charset="latin1"), 5)

    with pytest.raises(UnicodeEncodeError):
        execute(connection, "SELECT '\u0416'")

    assert connection.session.interrupt == ""
    assert execute(connection, "SELECT 1").fetchall() == ((1,),)
    driver.close(connection, 1)


def test_unread_rows_of_an_unbuffered_cursor_are_pending(db: Connection) -> None:
    """A stream that was not read to its end is a pending reply; one that was is none."""
    cursor = execute(db, "SELECT seq FROM seq_1_to_3", pymysql.cursors.SSCursor)
    assert driver.has_pending_reply(db)

    assert cursor.fetchall() == [(1,), (2,), (3,)]
    assert not driver.has_pending_reply(db)


def test_unread_result_sets_are_pending(mysql_database: MySQLDatabase) -> None:
    """Of several statements sent as one, every result has to be read."""
    flag = str(pymysql.constants.CLIENT.MULTI_STATEMENTS)
    connection = driver.open(target_in(mysql_database, client_flag=flag), 5)
    cursor = execute(connection, "SELECT 1; SELECT 2")
    assert driver.has_pending_reply(connection)

    cursor.nextset()

    assert cursor.fetchall() == ((2,),)
    assert not driver.has_pending_reply(connection)
    driver.close(connection, 1)


def test_unread_stream_that_takes_too_long_is_given_up_at_commit(db: Connection) -> None:
    """Reading what a task left unread is bounded by the time for the commit, which then was not sent."""
    cursor = execute(db, "SELECT seq FROM seq_1_to_100000000", pymysql.cursors.SSCursor)

    watch = Stopwatch()
    with pytest.raises(pymysql.err.OperationalError, match="in time"):
        driver.commit(db, 0.2)

    assert watch.seconds() < 1
    assert not db.session.pending
    assert not driver.is_open(db)
    cursor.close()
