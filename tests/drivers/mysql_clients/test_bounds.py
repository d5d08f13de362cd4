"""mysqlclient and mysql-connector-python: whatever they ask of a frozen server ends in time."""

from __future__ import annotations

from typing import Any

import pytest

from examples.servers import MariaDB
from taskconn.driver import Driver
from tests.drivers.mysql_clients.clients import HANG_S, each_client, execute, url_of
from tests.drivers.rows import Row, target_of
from tests.support.stopwatch import Stopwatch
from tests.support.wire import Wire

pytestmark = each_client


@pytest.mark.parametrize("transport", ["plain", "tls"])
def test_frozen_server_is_given_up_in_time(row: Row, tls_server: MariaDB, transport: str) -> None:
    """A stopped server takes bytes and answers nothing: ping, commit, rollback, close and open end in their time."""
    driver, url = row.driver(), url_of(row, tls_server, transport)
    connections = [driver.open(target_of(url), 5) for _ in range(4)]
    for db in connections:
        execute(db, "INSERT INTO car VALUES ('Volvo')")

    tls_server.pause()
    try:
        watch = Stopwatch()
        assert not driver.is_alive(connections[0], 0.3)
        for settle, db in zip((driver.commit, driver.rollback), connections[1:3], strict=True):
            with pytest.raises(driver.errors):
                settle(db, 0.3)
            assert db.session.pending
        driver.close(connections[3], 0.3)
        with pytest.raises(driver.errors):
            driver.open(target_of(url), 0.3)
        assert watch.seconds() < HANG_S
    finally:
        tls_server.resume()
    for db in connections:
        driver.close(db, 1)


def test_reset_of_a_frozen_session_ends_in_time(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A reset is bounded too; what it can't do it raises."""
    db, cut = watched
    cut.hold_answers()

    watch = Stopwatch()
    with pytest.raises(driver.errors):
        driver.reset(db, 0.3)

    assert watch.seconds() < HANG_S
