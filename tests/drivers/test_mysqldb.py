"""What is particular to mysqlclient: Python waits in its stead, so signals and greenlets get through; its arguments."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskconn.driver import Driver
from taskconn.drivers import load
from taskconn.errors import InvalidSettingsError, TaintedConnectionError
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase
from tests.support.limits import SoftTimeLimitExceeded
from tests.support.process import Script

if importlib.util.find_spec("MySQLdb") is None:
    reason = "mysqlclient is not installed: `make mysqlclient` builds it. The contract suite goes without it, too"
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, and tests would be skipped: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)

import MySQLdb
import MySQLdb.cursors

driver: Driver[Any] = load("mysql+mysqldb", "default")()


def _target(database: MySQLDatabase, **query: str) -> Any:
    return target_of(database.url, query=query)


@pytest.fixture
def db(mysql_database: MySQLDatabase) -> Iterator[Any]:
    """Give a connection to an empty database."""
    connection = driver.open(target_of(mysql_database.url), 5)
    yield connection
    driver.close(connection, 1)


def test_query_without_a_cursor_is_pending_until_it_is_fetched(db: Any) -> None:
    """Whoever calls `query()` has to fetch; the next one would get the answer."""
    db.query("SELECT 1")
    assert driver.has_pending_reply(db)

    assert db.store_result().fetch_row(0) == ((1,),)
    assert not driver.has_pending_reply(db)


def test_query_that_was_never_fetched_is_the_librarys_error(db: Any) -> None:
    """The library says that commands are out of sync, and nothing is read from that connection any more."""
    db.query("SELECT 1")

    with pytest.raises(MySQLdb.ProgrammingError, match="2014"):
        db.query("SELECT 2")

    assert driver.has_pending_reply(db)
    assert not driver.is_open(db)


def test_unread_result_sets_are_read_before_the_commit(db: Any) -> None:
    """Of several statements sent as one, every result has to be read."""
    cursor = db.cursor()
    cursor.execute("SELECT 1; SELECT 2; SELECT 3")

    driver.commit(db, 1)

    assert not driver.has_pending_reply(db)
    cursor.execute("SELECT 4")
    assert cursor.fetchall() == ((4,),)


def test_cursor_of_ones_own_class_stays_one(db: Any) -> None:
    """A cursor is guarded and still of the class that was asked for, which makes the rows."""

    class Shouting(MySQLdb.cursors.DictCursor):
        def shout(self) -> str:
            return "hey"

    with db.cursor(Shouting) as cursor:
        cursor.execute("SELECT 1 AS one")

        assert isinstance(cursor, Shouting)
        assert cursor.shout() == "hey"
        assert cursor.fetchall() == ({"one": 1},)


def test_interrupted_fetch_of_a_stream_taints(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row lost to an interrupt is not skipped in silence."""
    cursor = db.cursor(MySQLdb.cursors.SSCursor)
    cursor.execute("SELECT seq FROM seq_1_to_3")
    original = type(db).touching

    def struck(*arguments: Any) -> Any:
        original(*arguments)
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patch:
        patch.setattr(type(db), "touching", struck)
        with pytest.raises(SoftTimeLimitExceeded):
            cursor.fetchone()

    with pytest.raises(TaintedConnectionError, match="SoftTimeLimitExceeded"):
        cursor.fetchone()


def test_ping_never_reconnects(db: Any, mysql_database: MySQLDatabase) -> None:
    """A new session would not have the transaction of the old one, so there is none, whatever is asked for."""
    mysql_database.server.kill_session(int(driver.identity(db) or 0))

    with pytest.raises(MySQLdb.OperationalError, match=r"gone away|Lost connection"):
        db.ping(True)

    assert not driver.is_open(db)


def test_descriptor_of_somebody_else_is_left_alone(db: Any, mysql_database: MySQLDatabase) -> None:
    """The library closes its socket after a loss; the number may be another file's by then."""
    (descriptor,) = driver.sockets(db)
    mysql_database.server.kill_session(int(driver.identity(db) or 0))
    with pytest.raises(MySQLdb.OperationalError):
        db.query("SELECT 1")
    reading, writing = os.pipe()
    os.dup2(reading, descriptor)

    assert list(driver.sockets(db)) == []
    driver.invalidate(db)
    driver.close(db, 1)

    os.write(writing, b"x")
    assert os.read(descriptor, 1) == b"x"
    for number in {reading, writing, descriptor}:
        os.close(number)


_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from taskconn.drivers import load
from tests.drivers.rows import target_of

driver = load("mysql+mysqldb", "default")()

def ask(number):
    db = driver.open(target_of(sys.argv[1]), 5)
    with db.cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.5), %s", (number,))
        assert cursor.fetchall() == ((0, number),)
    driver.close(db, 1)

started = time.monotonic()
gevent.joinall([gevent.spawn(ask, number) for number in range(6)], raise_error=True)
print(f"took {time.monotonic() - started:.2f}")
"""


def test_greenlets_run_while_others_wait_for_replies(
    mysql_database: MySQLDatabase, script: Callable[..., Script]
) -> None:
    """Stock mysqlclient stops the hub for each query; here six half seconds take less than three seconds."""
    run = script(_GREENLETS, mysql_database.url)

    assert float(run.succeed().rpartition("took ")[2]) < 2.5


def test_strings_of_the_url_become_what_mysqlclient_takes(mysql_database: MySQLDatabase) -> None:
    """Numbers, truths and classes are read from the URL by the type of the argument."""
    db = driver.open(_target(mysql_database, cursorclass="DictCursor", read_timeout="7", ssl_mode="disabled"), 5)

    assert db.cursorclass is MySQLdb.cursors.DictCursor
    assert db._read_timeout == 7
    driver.close(db, 1)


def test_read_timeout_of_the_url_bounds_a_query(mysql_database: MySQLDatabase) -> None:
    """`read_timeout` is obeyed where Python waits instead of the library."""
    db = driver.open(_target(mysql_database, read_timeout="1"), 5)

    with pytest.raises(MySQLdb.OperationalError, match=r"no answer within 1\.0 s"):
        db.query("SELECT SLEEP(5)")

    driver.invalidate(db)


def test_default_timeout_of_sockets_leaves_a_connection_blocking(db: Any) -> None:
    """A commit looks at its answer, and mysqlclient goes on to wait for the next one in C."""
    socket.setdefaulttimeout(30)
    try:
        db.cursor().execute("SELECT 1")
        driver.commit(db, 5)
    finally:
        socket.setdefaulttimeout(None)

    assert os.get_blocking(db.descriptor())


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ({"read_timeout": "soon"}, "Mend the value"),
        ({"cursorclass": "os.system"}, "MySQLdb.cursors was expected"),
        ({"ssl_mode": "perhaps"}, "VERIFY_IDENTITY was expected"),
        ({"conv": "{}"}, "connect_args="),
    ],
)
def test_string_that_cannot_be_read_is_refused(mysql_database: MySQLDatabase, query: dict[str, str], hint: str) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=hint):
        driver.validate(_target(mysql_database, **query))


def test_tls_settings_are_given_once(mysql_database: MySQLDatabase) -> None:
    """The mapping `ssl` and its parts in the URL don't mix."""
    target = target_of(mysql_database.url, query={"ssl_ca": "ca.pem"}, connect_args={"ssl": {"ca": "other.pem"}})

    with pytest.raises(InvalidSettingsError, match="Write either the mapping or its parts"):
        driver.validate(target)
