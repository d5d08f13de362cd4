"""The driver that the tests of redis-py share, and what a pool does with its clients."""

from __future__ import annotations

from typing import Any

import redis

from taskconn.drivers.redis import Client, Redis

driver = Redis()


def take(client: Client) -> Any:
    """Take a connection from the client's pool, as its commands do."""
    name = [] if int(redis.__version__.partition(".")[0]) > 5 else ["_"]
    return client.connection_pool.get_connection(*name)


def give_back(client: Client) -> None:
    """Do what a lease does at its end, and the pool when the next one begins."""
    driver.restore(client)
    driver.session(client).sent = 0
