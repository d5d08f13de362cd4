"""redis-py: no command gets the reply to an interrupted one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from taskconn.driver import Peek
from taskconn.drivers.redis import Client
from taskconn.errors import TaintedConnectionError
from tests.drivers.redis.client import driver, take
from tests.drivers.rows import target_of
from tests.support.databases import RedisDatabase
from tests.support.limits import SoftTimeLimitExceeded
from tests.support.wire import Wire


def _strike_after_sending(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next command interrupted between its sending and its reply: redis-py is unprotected there."""
    kind = type(next(iter(client.connection_pool.connections())))
    original = kind.send_packed_command

    def struck(self: Any, *arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        original(self, *arguments, **options)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(kind, "send_packed_command", struck)


def test_command_after_an_interrupted_one_gets_its_own_reply(
    redis_db: RedisDatabase, wire: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is dropped when an exception passes over it, for a late reply can't be seen on it."""
    cut = wire(redis_db.server)
    client = driver.open(target_of(redis_db.url, port=cut.port), 5)
    client.mset({"a": "A", "b": "B"})
    cut.hold_answers()
    _strike_after_sending(client, monkeypatch)
    with pytest.raises(SoftTimeLimitExceeded):
        client.get("a")
    late = threading.Timer(0.2, cut.release_answers)
    late.start()

    assert client.get("b") == b"B"
    late.join()
    driver.close(client, 1)


def test_refused_command_keeps_the_connection(client: Client) -> None:
    """An error of the server's is a reply."""
    before = client.client_id()

    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NONSENSE")

    assert client.client_id() == before


def test_commands_in_an_except_block_keep_the_connection(client: Client) -> None:
    """An exception that was being handled before the command began did not interrupt it."""
    before = client.client_id()

    try:
        raise ValueError  # noqa: TRY301 -- the point
    except ValueError:
        client.incr("errors")

    assert client.client_id() == before


def test_interrupted_watch_does_not_end_in_exec(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that lost its watch to an interrupt refuses to go on, for its EXEC would overwrite what changed."""
    with client.pipeline() as pipe:
        pipe.watch("stock")
        _strike_after_sending(client, monkeypatch)
        with pytest.raises(SoftTimeLimitExceeded):
            pipe.get("stock")
        client.set("stock", "somebody else's")

        with pytest.raises(TaintedConnectionError, match="Let SoftTimeLimitExceeded end the task"):
            pipe.get("stock")
        pipe.multi()
        pipe.set("stock", "mine")
        with pytest.raises(TaintedConnectionError, match="Let SoftTimeLimitExceeded end the task"):
            pipe.execute()

    assert client.get("stock") == b"somebody else's"


def test_interrupted_client_of_one_connection_answers_right(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """``client.client()`` keeps one connection over all its commands, and drops it as well."""
    client.mset({"a": "A", "b": "B"})
    with client.client() as single:
        _strike_after_sending(client, monkeypatch)
        with pytest.raises(SoftTimeLimitExceeded):
            single.get("a")

        assert single.get("b") == b"B"


def test_interrupted_login_leaves_no_half_open_connection(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is used only after its login was answered whole."""
    client.connection_pool.disconnect()
    _strike_after_sending(client, monkeypatch)
    with pytest.raises(SoftTimeLimitExceeded):
        client.get("a")

    assert client.echo("right") == b"right"


def test_stale_reply_is_seen_before_the_next_lease(client: Client) -> None:
    """A reply that nobody read shows at a glance, and redis-py's own check is not switched off by notifications."""
    connection = take(client)
    connection.send_command("ECHO", "stale")
    client.connection_pool.release(connection)
    while driver.peek(client) is Peek.QUIET:
        time.sleep(0.01)

    assert driver.peek(client) is Peek.READABLE
    assert client.echo("fresh") == b"fresh"
