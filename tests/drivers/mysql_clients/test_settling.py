"""mysqlclient and mysql-connector-python: commits that are not sent, not answered, refused, or made by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from taskconn.driver import Driver, Peek
from tests.drivers.mysql_clients.clients import HANG_S, each_client, execute, rows
from tests.support.databases import MySQLDatabase
from tests.support.stopwatch import Stopwatch
from tests.support.wire import Wire

pytestmark = each_client


def test_commit_on_a_closed_connection_was_not_sent(driver: Driver[Any], db: Any) -> None:
    """A commit that never left is the driver's error, and nothing is pending: it is known to have failed."""
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.invalidate(db)

    with pytest.raises(driver.errors, match="COMMIT was not sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_on_a_killed_session_was_not_sent(driver: Driver[Any], db: Any, mysql_database: MySQLDatabase) -> None:
    """A session that the server ended shows at a glance, before COMMIT is sent."""
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    mysql_database.server.kill_session(int(driver.identity(db) or 0))
    while driver.peek(db) is Peek.QUIET:
        time.sleep(0.01)

    with pytest.raises(driver.errors, match="before COMMIT was sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_without_an_answer_stays_pending(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A connection lost between COMMIT and its answer leaves the outcome unknown, within the time given."""
    db, cut = watched
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    cut.hold_answers()

    watch = Stopwatch()
    with pytest.raises(driver.errors):
        driver.commit(db, 0.3)

    assert watch.seconds() < HANG_S
    assert db.session.pending
    assert not db.session.closed_by_hand
    assert not driver.is_open(db)


def test_commit_that_the_server_refuses_is_answered(driver: Driver[Any], db: Any) -> None:
    """An error as the answer to COMMIT is an answer."""
    execute(db, "XA START 'one'")

    with pytest.raises(driver.errors, match="XAER"):
        driver.commit(db, 1)

    assert not db.session.pending
    assert driver.is_open(db)


def test_commit_by_hand_leaves_nothing_to_settle(driver: Driver[Any], db: Any) -> None:
    """After the task's own commit no statement is open, so the lease needs no round trip."""
    execute(db, "INSERT INTO car VALUES ('Volvo')")

    db.commit()

    assert db.session.sent == 0
    assert driver.is_settled(db)


def test_commit_costs_one_round_trip_and_looks_cost_none(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """Neither the look at the socket nor `restore`, nor the session's id asks the server."""
    db, cut = watched
    execute(db, "INSERT INTO car VALUES ('Volvo')")
    before = cut.requests

    looks = (
        driver.peek(db),
        driver.identity(db),
        driver.is_open(db),
        driver.is_settled(db),
        driver.has_pending_reply(db),
    )
    assert cut.requests == before
    assert looks[0] is Peek.QUIET
    driver.commit(db, 1)
    driver.restore(db)

    assert cut.requests - before == 1


def test_next_query_is_not_bound_by_the_commits_bound(driver: Driver[Any], db: Any) -> None:
    """What taskconn limits for itself is unlimited again for the task."""
    driver.commit(db, 0.2)
    driver.rollback(db, 0.2)
    assert driver.is_alive(db, 0.2)

    assert rows(db, "SELECT SLEEP(0.4)") == [(0,)]
