"""redis-py: the arguments of its connections, label, account and TLS."""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path

import pytest
import redis
import trustme

from examples.servers import Redis as RedisProgram
from taskconn.drivers.redis import Redis
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options
from tests.drivers.redis.client import driver, take
from tests.drivers.rows import target_of
from tests.support.databases import RedisDatabase


def test_strings_of_the_url_become_what_redis_py_takes(redis_db: RedisDatabase) -> None:
    """Numbers and truths are read from the URL by the type of the argument; what is not said is as redis-py has it."""
    query = {"socket_timeout": "2.5", "decode_responses": "yes", "protocol": "2"}
    client = driver.open(target_of(redis_db.url, query=query), 5)

    client.set("key", "value")
    assert client.get("key") == "value"
    connection = take(client)
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
