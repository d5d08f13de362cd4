from __future__ import annotations

import gc
import os
from collections.abc import Callable

import pymysql
import pytest
import redis

from tests.support.databases import MySQLDatabase, RedisDatabase
from tests.support.wire import Wire


def test_wire_counts_round_trips(wire: Callable[..., Wire], mysql_database: MySQLDatabase) -> None:
    """Each statement is one round trip on the wire; using a connection locally is none."""
    proxy = wire(mysql_database.server)
    connection = mysql_database.connect(host=proxy.host, port=proxy.port)
    opened, sent = proxy.requests, proxy.sent

    connection.escape("no round trip")
    assert (proxy.requests, proxy.sent) == (opened, sent)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute("SELECT 2")
    assert proxy.requests == opened + 2

    connection.close()
    proxy.wait_until_closed()
    assert proxy.requests == opened + 3  # the goodbye; who of the two is seen to close first is open


def test_wire_shows_a_child_that_speaks(wire: Callable[..., Wire], mysql_database: MySQLDatabase) -> None:
    """The proxy tells a silent child from one that says goodbye on its parent's connection."""
    proxy = wire(mysql_database.server)
    connection = mysql_database.connect(host=proxy.host, port=proxy.port, ssl_disabled=True)
    sent = proxy.sent

    _in_child(lambda: None)
    assert proxy.sent == sent
    _in_child(connection.close)

    assert proxy.wait_until_closed().server_closed  # it was told goodbye
    assert proxy.sent == sent + 5  # a goodbye in the clear: four bytes of header, one of command
    connection._force_close()
    gc.collect()


def test_wire_cuts_like_a_network(wire: Callable[..., Wire], redis_db: RedisDatabase) -> None:
    """A cut connection fails at the next use; a new one goes through again."""
    proxy = wire(redis_db.server)
    with redis_db.connect(single_connection_client=True) as direct:
        direct.set("seen", 1)
    client = redis.Redis(proxy.host, proxy.port, redis_db.number, retry=None, single_connection_client=True)
    assert client.get("seen") == b"1"

    proxy.cut()

    with pytest.raises(redis.ConnectionError, match="closed"):
        client.get("seen")
    assert client.get("seen") == b"1"
    client.close()


def test_wire_holds_answers_back(wire: Callable[..., Wire], mysql_database: MySQLDatabase) -> None:
    """With answers held the server has got the statement, and the client does not know."""
    proxy = wire(mysql_database.server)
    mysql_database.query("CREATE TABLE car (name TEXT)")
    connection = mysql_database.connect(host=proxy.host, port=proxy.port, read_timeout=1, autocommit=True)

    proxy.hold_answers()
    with connection.cursor() as cursor, pytest.raises(pymysql.OperationalError, match="timed out"):
        cursor.execute("INSERT INTO car VALUES ('2CV')")
    proxy.release_answers()

    assert mysql_database.query("SELECT name FROM car") == [("2CV",)]


def _in_child(action: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    os.waitpid(child, 0)
