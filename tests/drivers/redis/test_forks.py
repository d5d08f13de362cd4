"""redis-py: a child ends no watch of its parent's, waits for no lock, and finds all sockets."""

from __future__ import annotations

import os
from collections.abc import Callable

from taskconn.drivers.redis import Client
from tests.drivers.redis.client import driver
from tests.support.databases import RedisDatabase
from tests.support.process import Script

_WATCHING = """
import gc, os, sys
from taskconn.drivers.redis import Redis
from tests.drivers.rows import target_of

client = Redis().open(target_of(sys.argv[1]), 5)
client.set("stock", 1)
pipe = client.pipeline()
pipe.watch("stock")
if os.fork() == 0:
    del pipe
    gc.collect()
    sys.exit()
os.wait()
client.set("stock", 2)
pipe.multi()
pipe.set("stock", 3)
try:
    pipe.execute()
except Exception as error:
    print(type(error).__name__)
"""


def test_childs_garbage_does_not_end_the_parents_watch(redis_db: RedisDatabase, script: Callable[..., Script]) -> None:
    """A pipeline collected in a child sends no UNWATCH on its parent's session, so no update is lost."""
    assert script(_WATCHING, redis_db.url).succeed() == "WatchError\n"
    assert redis_db.query("GET", "stock") == b"2"


_LOCKED = """
import os, sys, threading
from taskconn.drivers.redis import Redis
from taskconn.errors import InheritedConnectionError
from tests.drivers.rows import target_of

client = Redis().open(target_of(sys.argv[1]), 5)
pubsub = client.pubsub()
pubsub.subscribe("news")
held, done = threading.Event(), threading.Event()

def hold():
    with client.connection_pool._lock:
        held.set()
        done.wait()

threading.Thread(target=hold).start()
held.wait()
pid = os.fork()
if pid == 0:
    try:
        client.ping()
    except InheritedConnectionError:
        pubsub.close()
        client.connection_pool.disconnect()
        client.close()
        os.write(1, b"refused\\n")
    os._exit(0)
os.waitpid(pid, 0)
done.set()
"""


def test_child_does_not_wait_for_a_lock_of_its_parents_thread(
    redis_db: RedisDatabase, script: Callable[..., Script]
) -> None:
    """redis-py's lock may be held at the fork by a thread that the child does not have; the child takes no lock."""
    assert script(_LOCKED, redis_db.url).succeed(timeout=10) == "refused\n"


def test_sockets_of_all_connections_are_listed(client: Client) -> None:
    """A fork disarms what the pool has idle, what is in use, and what a task held beyond its lease."""
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    client.ping()

    listed = list(driver.sockets(client))

    assert len(set(listed)) == 2
    assert all(os.fstat(fd) for fd in listed)
    pubsub.close()
