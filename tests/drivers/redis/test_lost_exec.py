"""redis-py: a transaction whose answer is lost is not done a second time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis.exceptions

from taskconn import Registry, lease
from tests.support.databases import RedisDatabase
from tests.support.wire import Wire

#: Longest wait for what is a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


def test_transaction_without_an_answer_is_not_repeated(redis_db: RedisDatabase, wire: Callable[..., Wire]) -> None:
    """redis-py calls a lost connection a changed key, for which `transaction()` begins again."""
    proxy = wire(redis_db.server)
    registry = Registry()
    handle = registry.add("stock", redis_db.url.replace(f":{redis_db.server.port}/", f":{proxy.port}/"))

    def cut() -> None:
        assert proxy.has_come.wait(_PATIENCE_S)
        proxy.cut()
        proxy.release_answers()

    cutter = threading.Thread(target=cut)

    def count(pipe: Any) -> None:
        pipe.multi()
        pipe.incr("count")
        if not cutter.is_alive() and cutter.ident is None:
            proxy.hold_answer_to(b"EXEC")
            cutter.start()

    with pytest.raises(redis.exceptions.ConnectionError), lease(handle) as db:
        db.transaction(count, "key")
    cutter.join(_PATIENCE_S)

    assert redis_db.query("GET", "count") == b"1"
    registry.close()
