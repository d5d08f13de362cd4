"""What is particular to PyMySQL: the in-flight marker, interrupts, commits without an answer, TLS, its arguments."""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
import pytest
import trustme

from examples.servers import MariaDB
from taskconn.driver import Peek
from taskconn.drivers.pymysql import Connection, PyMySQL
from taskconn.errors import InvalidSettingsError, TaintedConnectionError
from taskconn.options import Options
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase
from tests.support.wire import Wire

driver = PyMySQL()


class SoftTimeLimitExceeded(Exception):  # noqa: N818 -- as Celery's is called
    pass


def _target(database: MySQLDatabase, **query: str) -> Any:
    return target_of(database.url, query=query)


@pytest.fixture
def db(mysql_database: MySQLDatabase) -> Iterator[Connection]:
    """Give a connection to a database with the table `car`."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    connection = driver.open(target_of(mysql_database.url), 5)
    yield connection
    driver.close(connection, 1)


@pytest.fixture
def watched(mysql_database: MySQLDatabase, wire: Callable[..., Wire]) -> Iterator[tuple[Connection, Wire]]:
    """Give a connection through a proxy that can hold answers back."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    cut = wire(mysql_database.server)
    connection = driver.open(target_of(mysql_database.url, port=cut.port), 5)
    yield connection, cut
    driver.invalidate(connection)


def _execute(db: Connection, sql: str, cursor_class: Any = None) -> Any:
    cursor = db.cursor(cursor_class)
    cursor.execute(sql)
    return cursor


def _interrupt_in(db: Connection, monkeypatch: pytest.MonkeyPatch, name: str, *, after: bool = False) -> None:
    """Have the next call of the private method *name* interrupted, before or after it did its work."""
    original = getattr(db, name)

    def struck(*arguments: Any) -> Any:
        monkeypatch.undo()
        if after:
            original(*arguments)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(db, name, struck)


# -- what is in flight -----------------------------------------------------------------------------------


def test_reply_is_pending_from_before_the_first_byte(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker is set before anything is sent, so that an interrupt while sending is one in flight."""
    seen = []
    monkeypatch.setattr(db, "_write_bytes", lambda data: seen.append(db.session.pending) or db._sock.sendall(data))

    _execute(db, "SELECT 1")

    assert seen == [True]
    assert not driver.has_pending_reply(db)


def test_error_of_the_server_leaves_nothing_pending(db: Connection) -> None:
    """A statement that the server refuses has been answered."""
    with pytest.raises(pymysql.err.ProgrammingError, match="syntax"):
        _execute(db, "SELEC 1")

    assert not driver.has_pending_reply(db)
    assert _execute(db, "SELECT 1").fetchall() == ((1,),)


def test_statement_that_cannot_be_encoded_is_not_sent(mysql_database: MySQLDatabase) -> None:
    """What fails before the first byte is no interrupt: the connection stays as it was."""
    connection = driver.open(_target(mysql_database, charset="latin1"), 5)

    with pytest.raises(UnicodeEncodeError):
        _execute(connection, "SELECT '\u0416'")

    assert connection.session.interrupt == ""
    assert _execute(connection, "SELECT 1").fetchall() == ((1,),)
    driver.close(connection, 1)


def test_unread_rows_of_an_unbuffered_cursor_are_pending(db: Connection) -> None:
    """A stream that was not read to its end is a pending reply; one that was is none."""
    cursor = _execute(db, "SELECT seq FROM seq_1_to_3", pymysql.cursors.SSCursor)
    assert driver.has_pending_reply(db)

    assert cursor.fetchall() == [(1,), (2,), (3,)]
    assert not driver.has_pending_reply(db)


def test_unread_result_sets_are_pending(mysql_database: MySQLDatabase) -> None:
    """Of several statements sent as one, every result has to be read."""
    flag = str(pymysql.constants.CLIENT.MULTI_STATEMENTS)
    connection = driver.open(_target(mysql_database, client_flag=flag), 5)
    cursor = _execute(connection, "SELECT 1; SELECT 2")
    assert driver.has_pending_reply(connection)

    cursor.nextset()

    assert cursor.fetchall() == ((2,),)
    assert not driver.has_pending_reply(connection)
    driver.close(connection, 1)


def test_unread_stream_that_takes_too_long_is_given_up_at_commit(db: Connection) -> None:
    """Reading what a task left unread is bounded by the time for the commit, which then was not sent."""
    cursor = _execute(db, "SELECT seq FROM seq_1_to_100000000", pymysql.cursors.SSCursor)

    started = time.monotonic()
    with pytest.raises(pymysql.err.OperationalError, match="in time"):
        driver.commit(db, 0.2)

    assert time.monotonic() - started < 1
    assert not db.session.pending
    assert not driver.is_open(db)
    cursor.close()


# -- interrupts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "after"),
    [("_write_bytes", False), ("_write_bytes", True), ("_read_packet", False), ("_read_packet", True)],
)
def test_interrupted_statement_taints(db: Connection, monkeypatch: pytest.MonkeyPatch, name: str, after: bool) -> None:
    """An interrupt between the first byte and the last closes the socket; later use names it."""
    _interrupt_in(db, monkeypatch, name, after=after)
    with pytest.raises(SoftTimeLimitExceeded):
        _execute(db, "SELECT 'old'")

    assert driver.has_pending_reply(db)
    assert db.session.interrupt == "SoftTimeLimitExceeded"
    assert not driver.is_open(db)
    with pytest.raises(TaintedConnectionError, match="Let SoftTimeLimitExceeded end the task") as caught:
        _execute(db, "SELECT 'new'")
    assert (caught.value.alias, caught.value.interrupt) == ("default", "SoftTimeLimitExceeded")


def test_interrupted_fetch_of_a_stream_taints(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row lost to an interrupt is not skipped in silence."""
    cursor = _execute(db, "SELECT seq FROM seq_1_to_3", pymysql.cursors.SSCursor)
    _interrupt_in(db, monkeypatch, "_read_packet", after=True)

    with pytest.raises(SoftTimeLimitExceeded):
        cursor.fetchone()

    assert db.session.interrupt == "SoftTimeLimitExceeded"
    assert not driver.is_open(db)


def test_cleaning_up_after_an_interrupt_does_not_mask_it(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tasks do on their way out - leave the cursor's block, roll back, close - raises nothing of its own."""
    _interrupt_in(db, monkeypatch, "_read_packet")

    with pytest.raises(SoftTimeLimitExceeded):
        _use_and_clean_up(db)


def _use_and_clean_up(db: Connection) -> None:
    try:
        with db, db.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute("SELECT 1")
    finally:
        db.rollback()


def test_interrupt_while_reading_is_heard_at_once(db: Connection) -> None:
    """A soft limit ends a long statement when it strikes, not when the statement ends."""

    def strike(*_: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGUSR1, strike)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            _execute(db, "SELECT SLEEP(5)")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)

    assert time.monotonic() - started < 1
    assert db.session.interrupt == "SoftTimeLimitExceeded"


# -- settling --------------------------------------------------------------------------------------------


def test_commit_on_a_closed_connection_was_not_sent(db: Connection) -> None:
    """A commit that never left is the driver's error, and nothing is pending: it is known to have failed."""
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.invalidate(db)

    with pytest.raises(pymysql.err.InterfaceError, match="COMMIT was not sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_on_a_killed_session_was_not_sent(db: Connection, mysql_database: MySQLDatabase) -> None:
    """A session that the server ended shows at a glance, before COMMIT is sent."""
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    mysql_database.server.kill_session(int(driver.identity(db) or 0))
    while driver.peek(db) is Peek.QUIET:
        time.sleep(0.01)

    with pytest.raises(pymysql.err.OperationalError, match="before COMMIT was sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_without_an_answer_stays_pending(watched: tuple[Connection, Wire]) -> None:
    """A connection lost between COMMIT and its answer leaves the outcome unknown, within the time given."""
    db, cut = watched
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    cut.hold_answers()

    started = time.monotonic()
    with pytest.raises(pymysql.err.OperationalError, match="Lost connection"):
        driver.commit(db, 0.3)

    assert time.monotonic() - started < 1
    assert db.session.pending


def test_commit_that_the_server_refuses_is_answered(db: Connection) -> None:
    """An error as the answer to COMMIT is an answer."""
    _execute(db, "XA START 'one'")

    with pytest.raises(pymysql.err.MySQLError, match="XAER"):
        driver.commit(db, 1)

    assert not db.session.pending
    assert driver.is_open(db)


def test_timeouts_of_the_task_are_put_back_after_settling(mysql_database: MySQLDatabase) -> None:
    """The bound of a commit is not the bound of the next query."""
    db = driver.open(_target(mysql_database, read_timeout="7", write_timeout="8"), 5)

    driver.commit(db, 0.2)
    driver.rollback(db, 0.2)
    driver.is_alive(db, 0.2)

    assert (db._read_timeout, db._write_timeout) == (7.0, 8.0)
    assert _execute(db, "SELECT SLEEP(0.4)").fetchall() == ((0,),)
    driver.close(db, 1)


def test_commit_by_hand_leaves_nothing_to_settle(db: Connection) -> None:
    """After the task's own commit no statement is open, so the lease needs no round trip."""
    _execute(db, "INSERT INTO car VALUES ('Volvo')")

    db.commit()

    assert db.session.sent == 0
    assert driver.is_settled(db)


def test_commit_by_hand_that_chains_leaves_a_transaction(db: Connection) -> None:
    """Where COMMIT begins the next transaction at once, there is something to settle still."""
    _execute(db, "SET completion_type='CHAIN'")
    _execute(db, "INSERT INTO car VALUES ('Volvo')")

    db.commit()

    assert db.session.sent > 0


def test_commit_by_hand_leaves_what_is_to_be_restored(db: Connection) -> None:
    """A task that commits by itself and leaves autocommit on has something to clean up still."""
    db.autocommit(True)

    db.commit()

    assert db.session.sent > 0


def test_transaction_is_seen_without_a_round_trip_where_autocommit_is_on(mysql_database: MySQLDatabase) -> None:
    """With autocommit a statement leaves nothing open, and BEGIN does."""
    target = target_of(mysql_database.url, query={"autocommit": "1"}, options=Options(transaction="none"))
    db = driver.open(target, 5)
    _execute(db, "SELECT 1")
    assert driver.is_settled(db)

    db.begin()
    assert not driver.is_settled(db)

    driver.rollback(db, 1)
    assert driver.is_settled(db)
    driver.close(db, 1)


def test_commit_costs_one_round_trip(watched: tuple[Connection, Wire]) -> None:
    """Neither the look at the socket nor `restore` asks the server."""
    db, cut = watched
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    before = cut.requests

    driver.commit(db, 1)
    driver.restore(db)

    assert cut.requests - before == 1


# -- state of the session --------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["db.autocommit(True)", "SET autocommit=1"])
def test_autocommit_switched_on_is_off_again_for_the_next_task(db: Connection, by: str) -> None:
    """`restore` puts autocommit back, whoever changed it, so that a rollback rolls back again."""
    if by.startswith("SET"):
        _execute(db, by)
    else:
        db.autocommit(True)
    driver.commit(db, 1)
    assert not driver.is_as_opened(db)

    driver.restore(db)

    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.rollback(db, 1)
    assert _execute(db, "SELECT * FROM car").fetchall() == ()


def test_reset_clears_the_session_and_keeps_what_the_url_said(mysql_database: MySQLDatabase) -> None:
    """Variables, locks, tables and database of one task are gone; what the URL says is set again."""
    db = driver.open(_target(mysql_database, init_command="SET @mark='url'", sql_mode="ANSI_QUOTES"), 5)
    for sql in ("SET @mark='task'", "SET sql_mode=''", "CREATE TEMPORARY TABLE mine (id INT)", "USE mysql"):
        _execute(db, sql)
    _execute(db, "SELECT GET_LOCK('lock', 0)")
    before = driver.identity(db)

    driver.reset(db, 5)

    asked = "SELECT @mark, DATABASE(), @@autocommit, @@character_set_client, @@sql_mode, IS_FREE_LOCK('lock')"
    assert _execute(db, asked).fetchone() == ("url", mysql_database.name, 0, "utf8mb4", "ANSI_QUOTES", 1)
    assert str(_execute(db, "SELECT CONNECTION_ID()").fetchone()[0]) == before
    with pytest.raises(pymysql.err.ProgrammingError, match="doesn't exist"):
        _execute(db, "SELECT * FROM mine")
    driver.close(db, 1)


def test_identity_is_the_servers_connection_id(db: Connection) -> None:
    """The id is known from the login, without a round trip."""
    assert driver.identity(db) == str(_execute(db, "SELECT CONNECTION_ID()").fetchone()[0])


def test_polite_close_is_no_aborted_client(mysql_database: MySQLDatabase) -> None:
    """The server counts a connection that says goodbye as ended, not as aborted."""
    before = mysql_database.server.status("Aborted_clients")

    db = driver.open(target_of(mysql_database.url), 5)
    driver.close(db, 1)
    while mysql_database.sessions():
        time.sleep(0.01)

    assert mysql_database.server.status("Aborted_clients") == before


# -- arguments -------------------------------------------------------------------------------------------


def test_defaults_are_utf8mb4_and_no_autocommit(db: Connection) -> None:
    """Without a word in the URL the connection is as PyMySQL has it."""
    assert _execute(db, "SELECT @@character_set_client, @@autocommit").fetchone() == ("utf8mb4", 0)


def test_strings_of_the_url_become_what_pymysql_takes(mysql_database: MySQLDatabase) -> None:
    """Numbers, truths and classes are read from the URL by the type of the argument."""
    query = {"read_timeout": "2.5", "cursorclass": "DictCursor", "use_unicode": "false", "local_infile": "1"}
    db = driver.open(_target(mysql_database, **query), 5)

    assert (db._read_timeout, db.cursorclass, db.use_unicode) == (2.5, pymysql.cursors.DictCursor, False)
    driver.close(db, 1)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("read_timeout", "soon", "Mend the value"),
        ("use_unicode", "perhaps", "true or false was expected"),
        ("cursorclass", "os.system", "pymysql.cursors was expected"),
        ("conv", "{}", "connect_args="),
    ],
)
def test_string_that_cannot_be_read_is_refused(mysql_database: MySQLDatabase, name: str, text: str, hint: str) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=hint):
        driver.validate(_target(mysql_database, **{name: text}))


@pytest.mark.parametrize("how", [{"query": {"autocommit": "1"}}, {"connect_args": {"autocommit": None}}])
def test_autocommit_needs_transaction_none(mysql_database: MySQLDatabase, how: dict[str, Any]) -> None:
    """Where the lease is to roll back, autocommit is refused; with transaction="none" it is the task's own."""
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target_of(mysql_database.url, **how))

    driver.validate(target_of(mysql_database.url, **how, options=Options(transaction="none")))


# -- TLS -------------------------------------------------------------------------------------------------


def _cipher(db: Connection) -> str:
    return str(_execute(db, "SHOW STATUS LIKE 'Ssl_cipher'").fetchone()[1])


def test_no_tls_context_is_made_for_a_server_without_tls(mysql_database: MySQLDatabase) -> None:
    """Opening plain costs no TLS context: that is 25 ms of PyMySQL's 26."""
    fresh = PyMySQL()
    connections = [fresh.open(target_of(mysql_database.url), 5) for _ in range(2)]

    assert repr(fresh._tls) == "<Tls unused>"
    for db in connections:
        assert _cipher(db) == ""
        fresh.close(db, 1)


def test_tls_context_is_made_once_for_an_alias(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of all connections of an alias the first one makes the context, and certificates are checked as the URL says."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    made = []
    original = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: made.append(1) or original(*a, **k))
    with MariaDB(tls=True) as server:
        ways = {
            "ssl_ca": server.tls_url("mysql"),
            "identity": f"{server.tls_url('mysql')}&ssl_verify_identity=true",
        }
        if pymysql.VERSION >= (1, 2):
            ways["preferred"] = server.url("mysql")
        for way, url in ways.items():
            made.clear()
            alias = PyMySQL()
            for _ in range(3):
                db = alias.open(target_of(url), 5)
                assert _cipher(db), way
                alias.close(db, 1)
            assert len(made) == 1, way

        stranger = PyMySQL()
        for _ in range(2):
            with pytest.raises(pymysql.err.OperationalError, match="certificate verify failed"):
                stranger.open(
                    target_of(f"{server.url('mysql')}?ssl_ca={tmp_path}/stranger.pem&ssl_verify_cert=true"), 5
                )
        disabled = PyMySQL().open(target_of(f"{server.url('mysql')}?ssl_disabled=1"), 5)
        assert _cipher(disabled) == ""
        driver.close(disabled, 1)


def test_tls_that_is_asked_for_is_not_done_without(mysql_database: MySQLDatabase) -> None:
    """A server without TLS is refused where the URL wants TLS, at the second connect as at the first."""
    alias = PyMySQL()

    for _ in range(2):
        with pytest.raises(pymysql.err.OperationalError, match="SSL is required"):
            alias.open(target_of(mysql_database.url, connect_args={"ssl": ssl.create_default_context()}), 5)


@pytest.mark.parametrize("options", [Options(), Options(label=False)])
def test_label_names_alias_and_process(options: Options) -> None:
    """The server's people see which process a session belongs to, unless label is off."""
    with MariaDB(performance_schema=True) as server:
        db = driver.open(target_of(server.url("mysql"), options=options), 5)
        asked = (
            "SELECT ATTR_VALUE FROM performance_schema.session_connect_attrs "
            "WHERE ATTR_NAME='program_name' AND PROCESSLIST_ID=CONNECTION_ID()"
        )
        found = _execute(db, asked).fetchall()
        driver.close(db, 1)

    if options.label:
        assert found[0][0].startswith("taskconn:default:")
        assert found[0][0].endswith(f":{os.getpid()}")
    else:
        assert found == ()
