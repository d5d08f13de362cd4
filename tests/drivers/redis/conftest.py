"""A client of redis-py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskconn.drivers.redis import Client
from tests.drivers.redis.client import driver
from tests.drivers.rows import target_of
from tests.support.databases import RedisDatabase


@pytest.fixture
def client(redis_db: RedisDatabase) -> Iterator[Client]:
    """Give a client of an empty database."""
    opened = driver.open(target_of(redis_db.url), 5)
    yield opened
    driver.close(opened, 1)
