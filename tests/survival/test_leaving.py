"""A process that ends while its servers are frozen ends in time, and sessions of killed ones do not stay."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from examples.servers import MariaDB, PostgreSQL, Redis
from tests.drivers.rows import ROWS
from tests.support.process import Script

#: Longer than any exit takes that waits for nobody, and far shorter than one that waits for each alias, in seconds.
_IN_TIME_S = 5.0

PROGRAM = """
import json, signal, sys
import taskconn
from tests.drivers.rows import ROWS

urls = json.loads(sys.argv[1])
taskconn.configure({alias: {"url": url, "close_timeout": 1.0} for alias, url in urls.items()})
for alias in urls:
    with taskconn.lease(alias) as db:
        ROWS[alias].ask(db, 0)
held = []
if sys.argv[2] == "leased":
    held = [taskconn.lease(alias) for alias in urls]
    for lease, alias in zip(held, urls):
        ROWS[alias].ask(lease.__enter__(), 1)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("ready", taskconn.stats()["pymysql"]["open"], flush=True)
signal.sigwait([signal.SIGUSR1])
"""


def _urls(mariadb: MariaDB, postgresql: PostgreSQL, redis: Redis) -> dict[str, str]:
    """Give an URL for each client that has a server."""
    mariadb.query("CREATE DATABASE IF NOT EXISTS shop")
    postgresql.query("CREATE DATABASE shop")
    places = {"mysql": mariadb.url("shop"), "postgresql": postgresql.url("shop"), "redis": redis.url()}
    return {
        row.name: urlsplit(places[row.family])._replace(scheme=row.scheme).geturl()
        for row in ROWS.values()
        if row.has_server
    }


@pytest.mark.parametrize("state", ["idle", "leased"])
def test_frozen_servers_do_not_hold_up_the_end_of_a_process(
    state: str,
    script: Callable[..., Script],
    private_mariadb: MariaDB,
    private_postgresql: PostgreSQL,
    private_redis: Redis,
) -> None:
    """With a connection of every client to servers that say nothing, a process ends within ``close_timeout`` or so."""
    urls = _urls(private_mariadb, private_postgresql, private_redis)
    program = script(PROGRAM, json.dumps(urls), state)
    program.wait_for("ready 1")
    servers = private_mariadb, private_postgresql, private_redis
    for server in servers:
        server.pause()

    started = time.monotonic()
    program.send(signal.SIGUSR1)
    code = program.wait(60)
    took_s = time.monotonic() - started
    for server in servers:
        server.resume()

    assert code == 0, program.output
    assert took_s < _IN_TIME_S
