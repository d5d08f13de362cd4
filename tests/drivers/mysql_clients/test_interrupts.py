"""mysqlclient and mysql-connector-python: an interrupt is heard at once and masked by nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.servers import MariaDB
from taskconn.driver import Driver
from taskconn.errors import TaintedConnectionError
from tests.drivers.mysql_clients.clients import HANG_S, each_client, execute, url_of
from tests.drivers.rows import Row
from tests.support.limits import SoftTimeLimitExceeded, strike
from tests.support.process import Script
from tests.support.stopwatch import Stopwatch

pytestmark = each_client


@pytest.fixture
def strike_soon() -> Iterator[Callable[[], None]]:
    """Give a function that has this process interrupted in 0.2 s."""
    before = signal.signal(signal.SIGUSR1, strike)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    yield timer.start
    timer.join()
    signal.signal(signal.SIGUSR1, before)


def test_interrupt_is_heard_at_once_and_taints(driver: Driver[Any], db: Any, strike_soon: Callable[[], None]) -> None:
    """A soft limit ends a long statement when it strikes, also where a library in C would wait; later use names it."""
    strike_soon()
    watch = Stopwatch()
    with pytest.raises(SoftTimeLimitExceeded):
        execute(db, "SELECT SLEEP(60)")

    assert watch.seconds() < HANG_S
    assert driver.has_pending_reply(db)
    assert not driver.is_open(db)
    with pytest.raises(TaintedConnectionError, match="Let SoftTimeLimitExceeded end the task") as caught:
        execute(db, "SELECT 'new'")
    assert (caught.value.alias, caught.value.interrupt) == ("default", "SoftTimeLimitExceeded")


def test_cleaning_up_after_an_interrupt_does_not_mask_it(db: Any, strike_soon: Callable[[], None]) -> None:
    """What tasks do on their way out - leave the cursor's block, roll back, close - raises nothing of its own."""

    def use_and_clean_up() -> None:
        try:
            with db, db.cursor() as cursor:
                cursor.execute("SELECT SLEEP(60)")
        finally:
            db.rollback()

    strike_soon()

    with pytest.raises(SoftTimeLimitExceeded):
        use_and_clean_up()


def test_earlier_exception_is_no_interrupt(driver: Driver[Any], db: Any) -> None:
    """An error of the library while a task handles its time limit is the library's error still."""
    try:
        strike()
    except SoftTimeLimitExceeded:
        with pytest.raises(driver.errors, match="syntax"):
            execute(db, "SELEC 1")

    assert db.session.interrupt == ""


def test_interrupts_by_the_hundred(row: Row, tls_server: MariaDB, script: Callable[..., Script]) -> None:
    """Over TLS, too, no interrupt gives a wrong answer, hangs or is masked."""
    run = script(
        [sys.executable, "-W", "ignore", "-m", "tests.drivers.fuzz", row.name, url_of(row, tls_server, "tls"), "60"]
    )

    assert run.wait(240) == 0, run.output
    counts = json.loads(run.wait_for(r"^\{.*\}$").group())

    assert counts.pop("interrupts") == 60
    assert {name for name, number in counts.items() if number} <= {"uninterrupted", "right again", "refused"}
