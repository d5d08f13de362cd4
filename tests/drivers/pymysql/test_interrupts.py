"""PyMySQL: an interrupt is heard at once, taints, and is masked by nothing."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pymysql
import pymysql.cursors
import pytest

from taskconn.drivers.pymysql import Connection
from taskconn.errors import TaintedConnectionError
from tests.drivers.pymysql.client import driver, execute
from tests.support.limits import SoftTimeLimitExceeded, strike
from tests.support.stopwatch import Stopwatch


def _interrupt_in(db: Connection, monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool = False) -> None:
    """Have the next call of the private method *name* interrupted, before or after it did its work."""
    original = getattr(db, name)

    def struck(*arguments: Any) -> Any:
        monkeypatch.undo()
        if after:
            original(*arguments)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(db, name, struck)


@pytest.mark.parametrize(
    ("name", "after"),
    [("_write_bytes", False), ("_write_bytes", True), ("_read_packet", False), ("_read_packet", True)],
)
def test_interrupted_statement_taints(db: Connection, monkeypatch: pytest.MonkeyPatch, name: str, after: bool) -> None:
    """An interrupt between the first byte and the last closes the socket; later use names it."""
    _interrupt_in(db, monkeypatch, name, after=after)
    with pytest.raises(SoftTimeLimitExceeded):
        execute(db, "SELECT 'old'")

    assert driver.has_pending_reply(db)
    assert db.session.interrupt == "SoftTimeLimitExceeded"
    assert not driver.is_open(db)
    with pytest.raises(TaintedConnectionError, match="Let SoftTimeLimitExceeded end the task") as caught:
        execute(db, "SELECT 'new'")
    assert (caught.value.alias, caught.value.interrupt) == ("default", "SoftTimeLimitExceeded")


def test_interrupted_fetch_of_a_stream_taints(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row lost to an interrupt is not skipped in silence."""
    cursor = execute(db, "SELECT seq FROM seq_1_to_3", pymysql.cursors.SSCursor)
    _interrupt_in(db, monkeypatch, "_read_packet", after=True)

    with pytest.raises(SoftTimeLimitExceeded):
        cursor.fetchone()

    assert db.session.interrupt == "SoftTimeLimitExceeded"
    assert not driver.is_open(db)


def test_cleaning_up_after_an_interrupt_does_not_mask_it(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tasks do on their way out - leave the cursor's block, roll back, close - raises nothing of its own."""
    _interrupt_in(db, monkeypatch, "_read_packet")

    with pytest.raises(SoftTimeLimitExceeded):
        _use_and_clean_up(db)


def _use_and_clean_up(db: Connection) -> None:
    try:
        with db, db.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute("SELECT 1")
    finally:
        db.rollback()


def test_interrupt_while_reading_is_heard_at_once(db: Connection) -> None:
    """A soft limit ends a long statement when it strikes, not when the statement ends."""
    before = signal.signal(signal.SIGUSR1, strike)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    watch = Stopwatch()
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            execute(db, "SELECT SLEEP(5)")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)

    assert watch.seconds() < 1
    assert db.session.interrupt == "SoftTimeLimitExceeded"
