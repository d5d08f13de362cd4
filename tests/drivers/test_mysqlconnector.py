"""What is particular to mysql-connector-python: unbuffered cursors, masked interrupts, one session, one TLS context."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import mysql.connector
import mysql.connector.errors
import pytest
from mysql.connector.conversion import MySQLConverter

from examples.servers import MariaDB
from taskconn.drivers.mysqlconnector import Connection, MySQLConnector
from taskconn.errors import InvalidSettingsError
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase
from tests.support.limits import SoftTimeLimitExceeded, strike
from tests.support.wire import Wire

driver = MySQLConnector()


@pytest.fixture
def db(mysql_database: MySQLDatabase) -> Iterator[Connection]:
    """Give a connection to an empty database."""
    connection = driver.open(target_of(mysql_database.url), 5)
    yield connection
    driver.close(connection, 1)


def test_interrupt_that_the_library_masks_reaches_the_task(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library makes a ProgrammingError of what strikes while it escapes parameters; the task gets the original."""
    assert db.sql_mode  # otherwise asked for in the middle
    monkeypatch.setattr(MySQLConverter, "to_mysql", strike)
    with pytest.raises(SoftTimeLimitExceeded):
        db.cursor().execute("SELECT %s", (1,))

    monkeypatch.undo()
    assert db.session.interrupt == ""  # nothing was in flight
    with db.cursor() as cursor:
        cursor.execute("SELECT %s", (1,))
        assert cursor.fetchall() == [(1,)]


def test_parameter_that_cannot_be_escaped_is_the_librarys_error(db: Connection) -> None:
    """What is wrong with a statement is said in the library's words, and leaves the connection as it was."""
    with pytest.raises(mysql.connector.errors.ProgrammingError, match="cannot be converted"):
        db.cursor().execute("SELECT %s", (object(),))

    assert not driver.has_pending_reply(db)
    assert driver.is_open(db)


def test_wrong_parameters_after_right_ones_leave_the_connection_usable(db: Connection) -> None:
    """An error of the client's between two statements is no lost reply."""
    with db.cursor() as cursor, pytest.raises(mysql.connector.errors.ProgrammingError, match="Not all parameters"):
        cursor.executemany("DO %s", [(1,), (1, 2)])

    assert not driver.has_pending_reply(db)
    assert driver.is_alive(db, 1)


def test_rows_that_a_held_cursor_has_not_read_are_the_librarys_error(db: Connection) -> None:
    """Somebody may want them still, so they are not read for another statement."""
    reader = db.cursor()
    reader.execute("SELECT seq FROM seq_1_to_5")

    with pytest.raises(mysql.connector.errors.InternalError, match="Unread result found"):
        db.cursor().execute("SELECT 1")

    assert reader.fetchall() == [(1,), (2,), (3,), (4,), (5,)]


def test_rows_that_nobody_can_read_are_read_away(db: Connection) -> None:
    """A cursor that was dropped half read is in nobody's way."""
    db.cursor().execute("SELECT seq FROM seq_1_to_5")

    with db.cursor() as cursor:
        cursor.execute("SELECT 'next'")
        assert cursor.fetchall() == [("next",)]


@pytest.mark.parametrize("way", ["prepared", "several", "long"])
def test_commit_reads_what_was_left_unread(db: Connection, way: str) -> None:
    """Rows of prepared statements, further result sets, and rows longer than a packet are told from replies."""
    cursor = db.cursor(prepared=way == "prepared")
    if way == "prepared":
        cursor.execute("SELECT seq + ? FROM seq_1_to_2000", (1,))
    elif way == "several":
        several = "SELECT 1; SELECT 2; SELECT 3"
        if mysql.connector.__version_info__ < (9, 2):
            next(cursor.execute(several, multi=True))
        else:
            cursor.execute(several)
    else:
        half = 16 * 2**20 // 2 + 5
        cursor.execute(f"SELECT REPEAT('\u00ff', {half // 2}), REPEAT('b', {half}) UNION ALL SELECT 'c', 'd'")
    assert driver.has_pending_reply(db)

    driver.commit(db, 5)

    assert not driver.has_pending_reply(db)
    with db.cursor() as other:
        other.execute("SELECT 'next'")
        assert other.fetchall() == [("next",)]


def test_prepared_statement_is_counted_and_answered(db: Connection) -> None:
    """A prepared statement opens a transaction like any other."""
    with db.cursor(prepared=True) as cursor:
        cursor.execute("SELECT ?", (7,))
        assert cursor.fetchall() == [(7,)]

    assert db.session.sent == 1


def test_cursor_costs_no_round_trip(mysql_database: MySQLDatabase, wire: Callable[..., Wire]) -> None:
    """The library asks the server whether it is there for each cursor; taskconn has looked already."""
    cut = wire(mysql_database.server)
    db = driver.open(target_of(mysql_database.url, port=cut.port), 5)
    before = cut.requests

    cursors = [db.cursor(), db.cursor(dictionary=True)]

    assert cut.requests == before
    assert len(cursors) == 2
    driver.close(db, 1)


def test_stored_procedure_gives_its_results(db: Connection) -> None:
    """`callproc` sends several statements and reads several results, as one exchange."""
    with db.cursor() as cursor:
        cursor.execute("CREATE PROCEDURE twice(IN one INT, OUT two INT) BEGIN SET two = 2 * one; SELECT one; END")
        assert cursor.callproc("twice", (21, 0)) == (21, 42)

    assert not driver.has_pending_reply(db)


@pytest.mark.parametrize("call", ["reconnect", "connect"])
def test_connection_is_opened_once(db: Connection, call: str) -> None:
    """Another session would not have the transaction of this one."""
    with pytest.raises(mysql.connector.errors.NotSupportedError, match="take a new lease"):
        getattr(db, call)()

    assert driver.is_alive(db, 1)


def test_ping_never_reconnects(db: Connection, mysql_database: MySQLDatabase) -> None:
    """Where the session has gone, asking to reconnect is refused."""
    mysql_database.server.kill_session(int(driver.identity(db) or 0))

    with pytest.raises(mysql.connector.errors.Error, match="opened once"):
        db.ping(reconnect=True)


@pytest.mark.parametrize("call", ["close", "disconnect", "shutdown"])
def test_every_way_to_close_is_known_to_the_lease(db: Connection, call: str) -> None:
    """The library has three names for it."""
    getattr(db, call)()

    assert db.session.closed_by_hand
    assert not driver.is_open(db)


def test_implementation_in_c_is_refused(mysql_database: MySQLDatabase) -> None:
    """`use_pure=True` is what there is, so it may be said; the other one hears no signals."""
    driver.validate(target_of(mysql_database.url, query={"use_pure": "true"}))

    with pytest.raises(InvalidSettingsError, match="Leave it out"):
        driver.validate(target_of(mysql_database.url, query={"use_pure": "false"}))


def test_tls_context_is_made_once_for_an_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all connections of an alias the first one makes the context, and certificates are checked as the URL says."""
    made = []
    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: made.append(1) or original(*a, **k))
    with MariaDB(tls=True) as server:
        for url in (server.url("mysql"), server.tls_url("mysql"), f"{server.tls_url('mysql')}&ssl_verify_identity=1"):
            made.clear()
            alias = MySQLConnector()
            for _ in range(3):
                connection = alias.open(target_of(url), 5)
                with connection.cursor() as cursor:
                    cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
                    assert cursor.fetchall()[0][1]
                alias.close(connection, 1)
            assert len(made) == 1
