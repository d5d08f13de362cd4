"""What the contract suite has of each row: its driver, an empty place, a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskconn.driver import Driver
from tests.drivers.rows import Row, target_of
from tests.support.wire import Wire


@pytest.fixture
def url(request: pytest.FixtureRequest, row: Row) -> str:
    """Give the URL of an empty place of the test's own."""
    return row.url(request)


@pytest.fixture
def driver(row: Row) -> Driver[Any]:
    """Give a driver of the row."""
    return row.driver()


@pytest.fixture
def connection(row: Row, driver: Driver[Any], url: str) -> Iterator[Any]:
    """Give a connection with room to write, to which no statement was sent yet."""
    opened = driver.open(target_of(url), 5)
    row.prepare(opened)
    driver.session(opened).sent = 0
    yield opened
    driver.close(opened, 1)


@pytest.fixture
def watched(driver: Driver[Any], url: str, wire: Callable[..., Wire]) -> Iterator[tuple[Any, Wire]]:
    """Give a connection through a proxy that can hold answers back."""
    target = target_of(url)
    cut = wire(target.port, target.host)
    opened = driver.open(target_of(url, port=cut.port), 5)
    yield opened, cut
    driver.close(opened, 0.3)
