"""Both PostgreSQL drivers: whatever they ask of a frozen server ends in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from examples.servers import PostgreSQL
from taskconn.driver import Driver
from tests.drivers.postgresql.clients import Make, run, url_for
from tests.support.stopwatch import Stopwatch


@contextmanager
def _frozen(server: PostgreSQL) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


@pytest.mark.parametrize("way", ["url", "unix_url", "tls_url"])
@pytest.mark.parametrize("action", ["commit", "rollback", "reset"])
def test_frozen_server_is_given_up_in_time(
    name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL, way: str, action: str
) -> None:
    """A server that is there and silent costs no more than the bound, over TCP, a Unix socket and TLS."""
    db = open_(url=url_for(name, getattr(tls_server, way)()))
    if action != "reset":
        run(db, "SELECT 1")

    with _frozen(tls_server):
        watch = Stopwatch()
        with pytest.raises(driver.errors):
            getattr(driver, action)(db, 0.1)
        elapsed = watch.seconds()

    assert elapsed < 0.6
    assert driver.session(db).pending == (action != "reset")
    assert not driver.is_open(db)


def test_frozen_server_is_not_alive_and_closing_does_not_wait(
    name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL
) -> None:
    """A health check says no within its bound; a goodbye is sent, not waited for."""
    first, second = (open_(url=url_for(name, tls_server.tls_url())) for _ in range(2))

    with _frozen(tls_server):
        watch = Stopwatch()
        assert not driver.is_alive(first, 0.1)
        driver.close(second, 0.1)
        elapsed = watch.seconds()

    assert elapsed < 0.7


def test_bound_of_one_settlement_does_not_touch_the_next(driver: Driver[Any], open_: Make) -> None:
    """What was answered in time is not shut when its deadline comes."""
    db = open_()
    run(db, "SELECT 1")
    driver.commit(db, 0.1)

    run(db, "SELECT pg_sleep(0.2)")
    driver.commit(db, 5)

    assert driver.is_open(db)
