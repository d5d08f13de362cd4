"""mysqlclient and mysql-connector-python: replies that are answered, half read, or not read at all."""

from __future__ import annotations

from typing import Any

import pytest

from taskconn.driver import Driver
from tests.drivers.mysql_clients.clients import HANG_S, each_client, execute, rows
from tests.drivers.rows import Row
from tests.support.stopwatch import Stopwatch

pytestmark = each_client


def test_error_of_the_server_leaves_nothing_pending(driver: Driver[Any], db: Any) -> None:
    """A statement that the server refuses has been answered, and the next one gets its own answer."""
    with pytest.raises(driver.errors, match="syntax"):
        execute(db, "SELEC 1")

    assert not driver.has_pending_reply(db)
    assert rows(db, "SELECT 1") == [(1,)]


def test_unread_stream_that_takes_too_long_is_given_up_at_commit(row: Row, driver: Driver[Any], db: Any) -> None:
    """Reading what a task left unread is bounded by the time for the commit, which then was not sent."""
    cursor = row.half_read(db)
    cursor.close()
    stock = (cls for cls in type(cursor).__mro__[1:] if cls.__module__ == "MySQLdb.cursors")
    cursor = db.cursor(next(stock)) if row.name == "mysqldb" else db.cursor()
    cursor.execute("SELECT seq FROM seq_1_to_10000000000")

    watch = Stopwatch()
    with pytest.raises(driver.errors):
        driver.commit(db, 0.2)

    assert watch.seconds() < HANG_S
    assert not db.session.pending
    assert not driver.is_open(db)
    cursor.close()


def test_unread_rows_are_pending_until_they_are_read(row: Row, driver: Driver[Any], db: Any) -> None:
    """A stream that was not read to its end is a pending reply; one that was is none."""
    cursor = row.half_read(db)
    assert driver.has_pending_reply(db)

    assert row.rest(cursor) == list(range(2, 20001))
    assert not driver.has_pending_reply(db)


def test_closing_a_half_read_cursor_reads_the_rest(row: Row, driver: Driver[Any], db: Any) -> None:
    """Leaving a cursor's block raises nothing of its own, so that it does not hide what made the task leave."""
    row.half_read(db).close()

    assert not driver.has_pending_reply(db)
    assert rows(db, "SELECT 1") == [(1,)]
