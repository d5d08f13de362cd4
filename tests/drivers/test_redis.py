"""What is particular to redis-py: what a task leaves half done, interrupts, forks with locks held, its arguments."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from examples.servers import Redis as RedisProgram
from taskconn.driver import Peek
from taskconn.drivers.redis import Client, Redis
from taskconn.errors import InvalidSettingsError, LeaseEndedError, TaintedConnectionError
from taskconn.options import Options
from tests.drivers.rows import target_of
from tests.support.databases import RedisDatabase
from tests.support.process import Script
from tests.support.wire import Wire

driver = Redis()


class SoftTimeLimitExceeded(Exception):  # noqa: N818 -- as Celery's is called
    pass


@pytest.fixture
def client(redis_db: RedisDatabase) -> Iterator[Client]:
    """Give a client of an empty database."""
    opened = driver.open(target_of(redis_db.url), 5)
    yield opened
    driver.close(opened, 1)


def _take(client: Client) -> Any:
    """Take a connection from the client's pool, as its commands do."""
    name = [] if int(redis.__version__.partition(".")[0]) > 5 else ["_"]
    return client.connection_pool.get_connection(*name)


def _give_back(client: Client) -> None:
    """Do what a lease does at its end, and the pool when the next one begins."""
    driver.restore(client)
    driver.session(client).sent = 0


# -- what a task leaves behind ---------------------------------------------------------------------------


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

    _give_back(client)

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

    _give_back(client)

    assert client.client_id() == before


def test_pipeline_that_still_watches_is_ended_with_the_lease(client: Client) -> None:
    """An optimistic lock does not outlive its lease: EXEC is refused, where over a new connection it would succeed."""
    pipe = client.pipeline()
    pipe.watch("key")
    pipe.multi()
    pipe.set("key", "late")

    _give_back(client)

    with pytest.raises(LeaseEndedError, match="with it this pipeline or subscription"):
        pipe.execute()
    assert client.get("key") is None


def test_subscription_is_ended_with_the_lease(client: Client) -> None:
    """A subscription that a task keeps gets no connection of the next task's."""
    pubsub = client.pubsub()
    pubsub.subscribe("news")

    _give_back(client)

    with pytest.raises(LeaseEndedError, match="Write `with taskconn"):
        pubsub.get_message()
    assert client.ping()
    pubsub.close()


def test_connections_that_were_lost_count_no_longer(redis_db: RedisDatabase) -> None:
    """What an interrupt lost between redis-py's lists does not use up `max_connections`."""
    client = driver.open(target_of(redis_db.url, query={"max_connections": "2"}), 5)

    for _ in range(3):
        _take(client)
        _give_back(client)

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
    _give_back(client)

    assert cut.requests - before == 1
    driver.close(client, 1)


# -- interrupts ------------------------------------------------------------------------------------------


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
    connection = _take(client)
    connection.send_command("ECHO", "stale")
    client.connection_pool.release(connection)
    while driver.peek(client) is Peek.QUIET:
        time.sleep(0.01)

    assert driver.peek(client) is Peek.READABLE
    assert client.echo("fresh") == b"fresh"


# -- forks -----------------------------------------------------------------------------------------------

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


# -- arguments -------------------------------------------------------------------------------------------


def test_strings_of_the_url_become_what_redis_py_takes(redis_db: RedisDatabase) -> None:
    """Numbers and truths are read from the URL by the type of the argument; what is not said is as redis-py has it."""
    query = {"socket_timeout": "2.5", "decode_responses": "yes", "protocol": "2"}
    client = driver.open(target_of(redis_db.url, query=query), 5)

    client.set("key", "value")
    assert client.get("key") == "value"
    connection = _take(client)
    assert (connection.socket_timeout, connection.protocol) == (2.5, 2)
    client.connection_pool.release(connection)
    driver.close(client, 1)


def test_database_that_is_no_number_is_refused(redis_db: RedisDatabase) -> None:
    """Databases of Redis have numbers."""
    with pytest.raises(InvalidSettingsError, match="Write a number"):
        driver.validate(target_of(redis_db.url, database="shop"))


def test_time_for_the_login_is_not_the_time_for_a_command(redis_db: RedisDatabase) -> None:
    """A command may wait longer than `connect_timeout`: BLPOP is not cut off."""
    client = driver.open(target_of(redis_db.url, connect_args={"socket_timeout": None}), 0.2)
    timer = threading.Timer(0.6, redis_db.query, ("LPUSH", "queue", "job"))
    timer.start()

    assert tuple(client.blpop(["queue"], timeout=5)) == (b"queue", b"job")
    assert driver.is_alive(client, 0.2)
    timer.join()
    driver.close(client, 1)


@pytest.mark.parametrize("options", [Options(), Options(label=False)])
def test_label_names_alias_and_process(redis_db: RedisDatabase, options: Options) -> None:
    """CLIENT LIST shows which process a session belongs to, unless label is off."""
    client = driver.open(target_of(redis_db.url, options=options), 5)

    name = client.client_getname() or ""

    assert name.startswith("taskconn:default:") == options.label
    assert name.endswith(f":{os.getpid()}") == options.label
    driver.close(client, 1)


def test_account_that_may_not_name_itself_can_connect(redis_db: RedisDatabase) -> None:
    """A label that the server refuses is done without."""
    redis_db.query("ACL", "SETUSER", "quiet", "on", ">pw", "~*", "+get", "+select", "-client")

    client = driver.open(target_of(redis_db.url, user="quiet", password="pw"), 5)

    assert client.get("key") is None
    driver.close(client, 1)
    redis_db.query("ACL", "DELUSER", "quiet")


def test_tls_context_is_made_once_for_an_alias(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of all connections of an alias the first one makes the context, and certificates are checked as the URL says."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    made = []
    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: made.append(1) or original(*a, **k))
    with RedisProgram(tls=True) as server:
        alias = Redis()
        for _ in range(3):
            client = alias.open(target_of(server.tls_url()), 5)
            assert client.echo("hidden") == b"hidden"
            alias.close(client, 1)
        assert len(made) == 1 or not hasattr(redis.connection.SSLConnection, "_wrap_socket_with_ssl")  # redis-py < 5.1

        stranger = Redis()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
                stranger.open(target_of(server.tls_url(), query={"ssl_ca_certs": f"{tmp_path}/stranger.pem"}), 5)

        unix = driver.open(target_of(server.unix_url(3)), 5)
        assert unix.client_info()["db"] == 3
        driver.close(unix, 1)
