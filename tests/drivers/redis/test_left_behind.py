"""redis-py: what a task leaves behind is dropped with its connection, and all else is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskconn.drivers.redis import Client
from taskconn.errors import LeaseEndedError
from tests.drivers.redis.client import driver, give_back, take
from tests.drivers.rows import target_of
from tests.support.databases import RedisDatabase
from tests.support.wire import Wire


@pytest.mark.parametrize(
    "words",
    [
        ("SELECT", 0),
        ("select 0",),
        (b"MULTI",),
        ("WATCH", "key"),
        ("CLIENT", "SETNAME", "x"),
        ("CLIENT TRACKING", "ON"),
    ],
    ids=str,
)
def test_command_that_changes_the_connection_is_undone_by_dropping_it(client: Client, words: tuple[Any, ...]) -> None:
    """SELECT, MULTI, WATCH and their like, sent by hand, do not reach the next task."""
    before = client.client_id()
    client.set("key", "mine")
    client.execute_command(*words)

    give_back(client)

    assert client.get("key") == b"mine"
    assert client.client_id() != before
    assert client.info("clients")["tracking_clients"] == 0


def test_ordinary_commands_keep_the_connection(client: Client) -> None:
    """Transactions that are complete, scripts and counters leave nothing behind, so nothing is dropped."""
    before = client.client_id()
    with client.pipeline() as pipe:
        pipe.watch("key")
        pipe.multi()
        pipe.incr("key")
        pipe.execute()
    client.transaction(lambda pipe: pipe.multi() or pipe.incr("key"), "key")
    client.execute_command("CLIENT", "INFO")
    client.eval("return 1", 0)

    give_back(client)

    assert client.client_id() == before


def test_pipeline_that_still_watches_is_ended_with_the_lease(client: Client) -> None:
    """An optimistic lock does not outlive its lease: EXEC is refused, where over a new connection it would succeed."""
    pipe = client.pipeline()
    pipe.watch("key")
    pipe.multi()
    pipe.set("key", "late")

    give_back(client)

    with pytest.raises(LeaseEndedError, match="with it this pipeline or subscription"):
        pipe.execute()
    assert client.get("key") is None


def test_subscription_is_ended_with_the_lease(client: Client) -> None:
    """A subscription that a task keeps gets no connection of the next task's."""
    pubsub = client.pubsub()
    pubsub.subscribe("news")

    give_back(client)

    with pytest.raises(LeaseEndedError, match="Write `with taskconn"):
        pubsub.get_message()
    assert client.ping()
    pubsub.close()


def test_connections_that_were_lost_count_no_longer(redis_db: RedisDatabase) -> None:
    """What an interrupt lost between redis-py's lists does not use up `max_connections`."""
    client = driver.open(target_of(redis_db.url, query={"max_connections": "2"}), 5)

    for _ in range(3):
        take(client)
        give_back(client)

    assert client.ping()
    driver.close(client, 1)


def test_lease_without_a_command_cleans_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that sent nothing costs no walk over the connections."""
    monkeypatch.setattr(client.connection_pool, "clean", lambda: pytest.fail("there was nothing to clean"))

    driver.restore(client)


def test_command_costs_one_round_trip(redis_db: RedisDatabase, wire: Callable[..., Wire]) -> None:
    """Counting and noting ask the server nothing, and neither does the end of a lease."""
    cut = wire(redis_db.server)
    client = driver.open(target_of(redis_db.url, port=cut.port), 5)
    before = cut.requests

    client.set("key", 1)
    give_back(client)

    assert cut.requests - before == 1
    driver.close(client, 1)
