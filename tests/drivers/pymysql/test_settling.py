"""PyMySQL: commits that are not sent, not answered, refused, or made by hand."""

from __future__ import annotations

import time

import pymysql
import pytest

from taskconn.driver import Peek
from taskconn.drivers.pymysql import Connection
from taskconn.options import Options
from tests.drivers.pymysql.client import driver, execute, target_in
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase
from tests.support.stopwatch import Stopwatch
from tests.support.wire import Wire


def test_commit_on_a_closed_connection_was_not_sent(db: Connection) -> None:
    """A commit that never left is the driver's error, and nothing is pending: it is known to have failed."""
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.invalidate(db)

    with pytest.raises(pymysql.err.InterfaceError, match="COMMIT was not sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_on_a_killed_session_was_not_sent(db: Connection, mysql_database: MySQLDatabase) -> None:
    """A session that the server ended shows at a glance, before COMMIT is sent."""
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    mysql_database.server.kill_session(int(driver.identity(db) or 0))
    while driver.peek(db) is Peek.QUIET:
        time.sleep(0.01)

    with pytest.raises(pymysql.err.OperationalError, match="before COMMIT was sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_without_an_answer_stays_pending(watched: tuple[Connection, Wire]) -> None:
    """A connection lost between COMMIT and its answer leaves the outcome unknown, within the time given."""
    db, cut = watched
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    cut.hold_answers()

    watch = Stopwatch()
    with pytest.raises(pymysql.err.OperationalError, match="Lost connection"):
        driver.commit(db, 0.3)

    assert watch.seconds() < 1
    assert db.session.pending


def test_commit_that_the_server_refuses_is_answered(db: Connection) -> None:
    """An error as the answer to COMMIT is an answer."""
    execute(db, "XA START 'one'")

    with pytest.raises(pymysql.err.MySQLError, match="XAER"):
        driver.commit(db, 1)

    assert not db.session.pending
    assert driver.is_open(db)


def test_timeouts_of_the_task_are_put_back_after_settling(mysql_database: MySQLDatabase) -> None:
    """The bound of a commit is not the bound of the next query."""
    db = driver.open(target_in(mysql_database, read_timeout="7", write_timeout="8"), 5)

    driver.commit(db, 0.2)
    driver.rollback(db, 0.2)
    driver.is_alive(db, 0.2)

    assert (db._read_timeout, db._write_timeout) == (7.0, 8.0)
    assert execute(db, "SELECT SLEEP(0.4)").fetchall() == ((0,),)
    driver.close(db, 1)


def test_commit_by_hand_leaves_nothing_to_settle(db: Connection) -> None:
    """After the task's own commit no statement is open, so the lease needs no round trip."""
    execute(db, "INSERT INTO car VALUES ('Volvo')")

    db.commit()

    assert db.session.sent == 0
    assert driver.is_settled(db)


def test_commit_by_hand_that_chains_leaves_a_transaction(db: Connection) -> None:
    """Where COMMIT begins the next transaction at once, there is something to settle still."""
    execute(db, "SET completion_type='CHAIN'")
    execute(db, "INSERT INTO car VALUES ('Volvo')")

    db.commit()

    assert db.session.sent > 0


def test_commit_by_hand_leaves_what_is_to_be_restored(db: Connection) -> None:
    """A task that commits by itself and leaves autocommit on has something to clean up still."""
    db.autocommit(True)

    db.commit()

    assert db.session.sent > 0


def test_transaction_is_seen_without_a_round_trip_where_autocommit_is_on(mysql_database: MySQLDatabase) -> None:
    """With autocommit a statement leaves nothing open, and BEGIN does."""
    target = target_of(mysql_database.url, query={"autocommit": "1"}, options=Options(transaction="none"))
    db = driver.open(target, 5)
    execute(db, "SELECT 1")
    assert driver.is_settled(db)

    db.begin()
    assert not driver.is_settled(db)

    driver.rollback(db, 1)
    assert driver.is_settled(db)
    driver.close(db, 1)


def test_commit_costs_one_round_trip(watched: tuple[Connection, Wire]) -> None:
    """Neither the look at the socket nor `restore` asks the server."""
    db, cut = watched
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    before = cut.requests

    driver.commit(db, 1)
    driver.restore(db)

    assert cut.requests - before == 1
