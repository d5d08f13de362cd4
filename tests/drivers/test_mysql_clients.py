"""What mysqlclient and mysql-connector-python claim alike, beyond the contract: settling, interrupts, forks, TLS."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.servers import MariaDB
from taskconn.driver import Driver, Peek
from taskconn.errors import InvalidSettingsError, TaintedConnectionError
from taskconn.options import Options
from tests.drivers.rows import ROWS, Row, target_of
from tests.support.databases import MySQLDatabase
from tests.support.process import Script
from tests.support.wire import Wire

#: What only a hang reaches, in seconds; what is waited for would take longer still.
_HANG_S = 20

_CLIENTS = [ROWS[name] for name in ("mysqldb", "mysqlconnector") if name in ROWS]

pytestmark = pytest.mark.parametrize("row", _CLIENTS, ids=lambda row: row.name)


class SoftTimeLimitExceeded(Exception):  # noqa: N818 -- as Celery's is called
    pass


@pytest.fixture(scope="module")
def tls_server() -> Iterator[MariaDB]:
    """Give a server with TLS and with a view of its clients' labels."""
    with MariaDB(tls=True, performance_schema=True) as server:
        server.query("CREATE DATABASE cars")
        server.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB", database="cars")
        yield server


@pytest.fixture
def driver(row: Row) -> Driver[Any]:
    """Give a driver of one's own."""
    return row.driver()


@pytest.fixture
def db(driver: Driver[Any], mysql_database: MySQLDatabase) -> Iterator[Any]:
    """Give a connection to a database with the table `car`."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    connection = driver.open(target_of(mysql_database.url), 5)
    yield connection
    driver.close(connection, 1)


@pytest.fixture
def watched(
    driver: Driver[Any], mysql_database: MySQLDatabase, wire: Callable[..., Wire]
) -> Iterator[tuple[Any, Wire]]:
    """Give a connection through a proxy that counts and can hold answers back."""
    mysql_database.query("CREATE TABLE car (name VARCHAR(50)) ENGINE=InnoDB")
    cut = wire(mysql_database.server)
    connection = driver.open(target_of(mysql_database.url, port=cut.port), 5)
    yield connection, cut
    driver.invalidate(connection)


def _execute(db: Any, sql: str) -> Any:
    cursor = db.cursor()
    cursor.execute(sql)
    return cursor


def _rows(db: Any, sql: str) -> list[tuple[Any, ...]]:
    return list(_execute(db, sql).fetchall())


# -- settling --------------------------------------------------------------------------------------------


def test_commit_on_a_closed_connection_was_not_sent(driver: Driver[Any], db: Any) -> None:
    """A commit that never left is the driver's error, and nothing is pending: it is known to have failed."""
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.invalidate(db)

    with pytest.raises(driver.errors, match="COMMIT was not sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_on_a_killed_session_was_not_sent(driver: Driver[Any], db: Any, mysql_database: MySQLDatabase) -> None:
    """A session that the server ended shows at a glance, before COMMIT is sent."""
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    mysql_database.server.kill_session(int(driver.identity(db) or 0))
    while driver.peek(db) is Peek.QUIET:
        time.sleep(0.01)

    with pytest.raises(driver.errors, match="before COMMIT was sent"):
        driver.commit(db, 1)

    assert not db.session.pending


def test_commit_without_an_answer_stays_pending(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A connection lost between COMMIT and its answer leaves the outcome unknown, within the time given."""
    db, cut = watched
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    cut.hold_answers()

    started = time.monotonic()
    with pytest.raises(driver.errors):
        driver.commit(db, 0.3)

    assert time.monotonic() - started < _HANG_S
    assert db.session.pending
    assert not db.session.closed_by_hand
    assert not driver.is_open(db)


def test_commit_that_the_server_refuses_is_answered(driver: Driver[Any], db: Any) -> None:
    """An error as the answer to COMMIT is an answer."""
    _execute(db, "XA START 'one'")

    with pytest.raises(driver.errors, match="XAER"):
        driver.commit(db, 1)

    assert not db.session.pending
    assert driver.is_open(db)


def test_error_of_the_server_leaves_nothing_pending(driver: Driver[Any], db: Any) -> None:
    """A statement that the server refuses has been answered, and the next one gets its own answer."""
    with pytest.raises(driver.errors, match="syntax"):
        _execute(db, "SELEC 1")

    assert not driver.has_pending_reply(db)
    assert _rows(db, "SELECT 1") == [(1,)]


def test_commit_by_hand_leaves_nothing_to_settle(driver: Driver[Any], db: Any) -> None:
    """After the task's own commit no statement is open, so the lease needs no round trip."""
    _execute(db, "INSERT INTO car VALUES ('Volvo')")

    db.commit()

    assert db.session.sent == 0
    assert driver.is_settled(db)


def test_commit_costs_one_round_trip_and_looks_cost_none(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """Neither the look at the socket nor `restore`, nor the session's id asks the server."""
    db, cut = watched
    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    before = cut.requests

    looks = (
        driver.peek(db),
        driver.identity(db),
        driver.is_open(db),
        driver.is_settled(db),
        driver.has_pending_reply(db),
    )
    assert cut.requests == before
    assert looks[0] is Peek.QUIET
    driver.commit(db, 1)
    driver.restore(db)

    assert cut.requests - before == 1


def test_next_query_is_not_bound_by_the_commits_bound(driver: Driver[Any], db: Any) -> None:
    """What taskconn limits for itself is unlimited again for the task."""
    driver.commit(db, 0.2)
    driver.rollback(db, 0.2)
    assert driver.is_alive(db, 0.2)

    assert _rows(db, "SELECT SLEEP(0.4)") == [(0,)]


def test_unread_stream_that_takes_too_long_is_given_up_at_commit(row: Row, driver: Driver[Any], db: Any) -> None:
    """Reading what a task left unread is bounded by the time for the commit, which then was not sent."""
    cursor = row.half_read(db)
    cursor.close()
    stock = (cls for cls in type(cursor).__mro__[1:] if cls.__module__ == "MySQLdb.cursors")
    cursor = db.cursor(next(stock)) if row.name == "mysqldb" else db.cursor()
    cursor.execute("SELECT seq FROM seq_1_to_10000000000")

    started = time.monotonic()
    with pytest.raises(driver.errors):
        driver.commit(db, 0.2)

    assert time.monotonic() - started < _HANG_S
    assert not db.session.pending
    assert not driver.is_open(db)
    cursor.close()


def test_unread_rows_are_pending_until_they_are_read(row: Row, driver: Driver[Any], db: Any) -> None:
    """A stream that was not read to its end is a pending reply; one that was is none."""
    cursor = row.half_read(db)
    assert driver.has_pending_reply(db)

    assert row.rest(cursor) == list(range(2, 20001))
    assert not driver.has_pending_reply(db)


def test_closing_a_half_read_cursor_reads_the_rest(row: Row, driver: Driver[Any], db: Any) -> None:
    """Leaving a cursor's block raises nothing of its own, so that it does not hide what made the task leave."""
    row.half_read(db).close()

    assert not driver.has_pending_reply(db)
    assert _rows(db, "SELECT 1") == [(1,)]


# -- interrupts ------------------------------------------------------------------------------------------


def _strike(*_: object) -> None:
    raise SoftTimeLimitExceeded


@pytest.fixture
def strike_soon() -> Iterator[Callable[[], None]]:
    """Give a function that has this process interrupted in 0.2 s."""
    before = signal.signal(signal.SIGUSR1, _strike)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    yield timer.start
    timer.join()
    signal.signal(signal.SIGUSR1, before)


def test_interrupt_is_heard_at_once_and_taints(driver: Driver[Any], db: Any, strike_soon: Callable[[], None]) -> None:
    """A soft limit ends a long statement when it strikes, also where a library in C would wait; later use names it."""
    strike_soon()
    started = time.monotonic()
    with pytest.raises(SoftTimeLimitExceeded):
        _execute(db, "SELECT SLEEP(60)")

    assert time.monotonic() - started < _HANG_S
    assert driver.has_pending_reply(db)
    assert not driver.is_open(db)
    with pytest.raises(TaintedConnectionError, match="Let SoftTimeLimitExceeded end the task") as caught:
        _execute(db, "SELECT 'new'")
    assert (caught.value.alias, caught.value.interrupt) == ("default", "SoftTimeLimitExceeded")


def test_cleaning_up_after_an_interrupt_does_not_mask_it(db: Any, strike_soon: Callable[[], None]) -> None:
    """What tasks do on their way out - leave the cursor's block, roll back, close - raises nothing of its own."""

    def use_and_clean_up() -> None:
        try:
            with db, db.cursor() as cursor:
                cursor.execute("SELECT SLEEP(60)")
        finally:
            db.rollback()

    strike_soon()

    with pytest.raises(SoftTimeLimitExceeded):
        use_and_clean_up()


@pytest.fixture
def answering(mysql_database: MySQLDatabase) -> Iterator[threading.Event]:
    """Give the event at whose setting the server answers what waits for the lock `busy`."""
    event = threading.Event()
    holder = mysql_database.connect()
    holder.cursor().execute("SELECT GET_LOCK('busy', 0)")

    def hold() -> None:
        event.wait()
        holder.close()

    thread = threading.Thread(target=hold)
    thread.start()
    yield event
    event.set()
    thread.join()


@pytest.fixture
def busy(driver: Driver[Any], db: Any, answering: threading.Event) -> Iterator[tuple[threading.Thread, list[Any]]]:
    """Give a thread that waits for its answer, and the list that will have it, or its error."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            with db.cursor() as cursor:
                cursor.execute("SELECT GET_LOCK('busy', 60), 'right'")
                answers.extend(cursor.fetchall())
        except driver.errors as error:
            answers.append(error)

    before = db.touches
    thread = threading.Thread(target=ask)
    thread.start()
    while db.touches == before:
        time.sleep(0.01)
    yield thread, answers
    answering.set()
    thread.join()


def test_second_thread_is_refused_and_the_first_gets_its_answer(
    driver: Driver[Any], db: Any, busy: tuple[threading.Thread, list[Any]], answering: threading.Event
) -> None:
    """A connection that is shared by mistake gives nobody somebody else's answer."""
    thread, answers = busy

    with pytest.raises(driver.errors, match="in use by another thread"):
        _execute(db, "SELECT 'wrong'")

    answering.set()
    thread.join()
    assert [tuple(answer) for answer in answers] == [(1, "right")]
    assert _rows(db, "SELECT 'mine'") == [("mine",)]


def test_invalidation_wakes_a_thread_that_waits(
    driver: Driver[Any], db: Any, busy: tuple[threading.Thread, list[Any]]
) -> None:
    """Dropping a connection from another thread neither waits for its answer nor leaves the thread waiting."""
    thread, answers = busy

    driver.invalidate(db)
    thread.join(_HANG_S)

    assert not thread.is_alive()
    assert isinstance(answers[0], driver.errors)


def test_earlier_exception_is_no_interrupt(driver: Driver[Any], db: Any) -> None:
    """An error of the library while a task handles its time limit is the library's error still."""
    try:
        _strike()
    except SoftTimeLimitExceeded:
        with pytest.raises(driver.errors, match="syntax"):
            _execute(db, "SELEC 1")

    assert db.session.interrupt == ""


# -- frozen servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["plain", "tls"])
def test_frozen_server_is_given_up_in_time(row: Row, tls_server: MariaDB, transport: str) -> None:
    """A stopped server takes bytes and answers nothing: ping, commit, rollback, close and open end in their time."""
    driver, url = row.driver(), _url(row, tls_server, transport)
    connections = [driver.open(target_of(url), 5) for _ in range(4)]
    for db in connections:
        _execute(db, "INSERT INTO car VALUES ('Volvo')")

    tls_server.pause()
    try:
        started = time.monotonic()
        assert not driver.is_alive(connections[0], 0.3)
        for settle, db in zip((driver.commit, driver.rollback), connections[1:3], strict=True):
            with pytest.raises(driver.errors):
                settle(db, 0.3)
            assert db.session.pending
        driver.close(connections[3], 0.3)
        with pytest.raises(driver.errors):
            driver.open(target_of(url), 0.3)
        assert time.monotonic() - started < _HANG_S
    finally:
        tls_server.resume()
    for db in connections:
        driver.close(db, 1)


# -- forks, with taskconn's hooks ------------------------------------------------------------------------

_FORK = """
import gc, json, os, sys, threading
import taskconn
from taskconn import errors
from tests.drivers.rows import ROWS

name, url, state = sys.argv[1:]
row = ROWS[name]
taskconn.configure({"default": {"url": url, "transaction": "none"}})

def child(action, db, reader):
    said = "nothing"
    if action == "use":
        try:
            row.write(db, "child")
        except errors.InheritedConnectionError as error:
            said = error.owner_pid == os.getppid()
    elif action == "close":
        db.close()
    elif action == "rollback":
        try:
            db.rollback()
        except errors.InheritedConnectionError:
            said = "inherited"
    elif action == "drop":
        reader = db = None
        lease._pooled.connection = None
        gc.collect()
    return said

lease = taskconn.lease("default")
db = lease.begin(None)
session_id = row.session_id(db)
row.write(db, "parent")
reader = row.half_read(db) if state == "half read" else None
busy = answers = None
if state == "in a query":
    answers = []
    def ask():
        cursor = db.cursor()
        cursor.execute("SELECT SLEEP(3), 'right'")
        answers.extend(cursor.fetchall())
        cursor.close()
    busy = threading.Thread(target=ask)
    busy.start()
    while not db.session.pending:
        pass
descriptor = taskconn._registry.default_registry().pool("default").driver.sockets(db)
socket = os.readlink(f"/proc/self/fd/{list(descriptor)[0]}")
children = []
for action in ["use", "close", "rollback", "drop", "sys.exit", "os._exit"]:
    pid = os.fork()
    if pid:
        children.append(pid)
        continue
    reader_, reader = reader, None
    said = child(action, globals().pop("db"), reader_)
    reader_ = None
    held = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    held = [fd for fd in held if os.readlink(f"/proc/self/fd/{fd}") == socket]
    with taskconn.lease("default") as own:
        differs = row.session_id(own) != session_id
    os.write(1, (json.dumps({action: [said, held, differs]}) + "\\n").encode())
    os._exit(0) if action == "os._exit" else sys.exit(0)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
if busy is not None:
    busy.join()
    assert [list(answer) for answer in answers] == [[0, "right"]], answers
if reader is not None:
    assert row.rest(reader) == list(range(2, 20001))
same = row.session_id(db) == session_id
db.commit()
print(json.dumps({"codes": codes, "same": same, "values": row.values(db)}), flush=True)
lease.succeed()
"""


def _url(row: Row, server: MariaDB, transport: str, wire: Callable[..., Wire] | None = None) -> str:
    url = server.tls_url("cars").partition("&")[0] if transport == "tls" else server.url("cars")
    if wire is not None:
        url = url.replace(f":{server.port}/", f":{wire(server).port}/")
    return url.replace("mysql://", f"mysql+{row.name}://")


@pytest.mark.parametrize(
    ("transport", "state"),
    [("plain", "half read"), ("tls", "in a transaction"), ("plain", "in a query")],
    ids=["plain, half read", "tls, in a transaction", "plain, in a query"],
)
def test_child_leaves_the_session_of_a_leased_connection_alone(
    row: Row, tls_server: MariaDB, transport: str, state: str, script: Callable[..., Script]
) -> None:
    """The child keeps no descriptor, says nothing, opens its own; the parent's transaction, rows and session go on."""
    tls_server.query("DELETE FROM car", database="cars")

    output = script(_FORK, row.name, _url(row, tls_server, transport), state).succeed()

    said: dict[str, Any] = {}
    for line in output.splitlines():
        assert line.startswith("{"), output  # a traceback, a warning
        said |= json.loads(line)
    expected = {"use": True, "close": "nothing", "rollback": "inherited", "drop": "nothing"}
    expected |= {"sys.exit": "nothing", "os._exit": "nothing"}
    children = {action: [word, [], True] for action, word in expected.items()}
    assert said == {**children, "codes": [0] * 6, "same": True, "values": ["parent"]}


# -- state of the session --------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["method", "SET autocommit=1"])
def test_autocommit_switched_on_is_off_again_for_the_next_task(row: Row, driver: Driver[Any], db: Any, by: str) -> None:
    """`restore` puts autocommit back, whoever changed it, so that a rollback rolls back again."""
    if by.startswith("SET"):
        _execute(db, by)
    elif row.name == "mysqldb":
        db.autocommit(True)
    else:
        db.autocommit = True
    driver.commit(db, 1)
    assert not driver.is_as_opened(db)

    driver.restore(db)

    _execute(db, "INSERT INTO car VALUES ('Volvo')")
    driver.rollback(db, 1)
    assert _rows(db, "SELECT * FROM car") == []


def test_reset_clears_the_session_and_keeps_what_the_url_said(
    driver: Driver[Any], mysql_database: MySQLDatabase
) -> None:
    """Variables, locks, tables and database of one task are gone; what the URL says is set again."""
    query = {"init_command": "SET @mark='url'", "sql_mode": "ANSI_QUOTES", "charset": "utf8mb4"}
    query["collation"] = "utf8mb4_bin"
    db = driver.open(target_of(mysql_database.url, query=query), 5)
    for sql in ("SET @mark='task'", "SET sql_mode=''", "CREATE TEMPORARY TABLE mine (id INT)", "USE mysql"):
        _execute(db, sql)
    assert _rows(db, "SELECT GET_LOCK('lock', 0)") == [(1,)]
    before = driver.identity(db)

    driver.reset(db, 5)

    asked = "SELECT @mark, DATABASE(), @@autocommit, @@collation_connection, @@sql_mode, IS_FREE_LOCK('lock')"
    assert _rows(db, asked) == [("url", mysql_database.name, 0, "utf8mb4_bin", "ANSI_QUOTES", 1)]
    assert str(_rows(db, "SELECT CONNECTION_ID()")[0][0]) == before
    with pytest.raises(driver.errors, match="doesn't exist"):
        _execute(db, "SELECT * FROM mine")
    driver.close(db, 1)


def test_reset_of_a_frozen_session_ends_in_time(driver: Driver[Any], watched: tuple[Any, Wire]) -> None:
    """A reset is bounded too; what it can't do it raises."""
    db, cut = watched
    cut.hold_answers()

    started = time.monotonic()
    with pytest.raises(driver.errors):
        driver.reset(db, 0.3)

    assert time.monotonic() - started < _HANG_S


def test_polite_close_is_no_aborted_client(driver: Driver[Any], mysql_database: MySQLDatabase) -> None:
    """The server counts a connection that says goodbye as ended, not as aborted."""
    before = mysql_database.server.status("Aborted_clients")

    db = driver.open(target_of(mysql_database.url), 5)
    driver.close(db, 1)
    while mysql_database.sessions():
        time.sleep(0.01)

    assert mysql_database.server.status("Aborted_clients") == before


# -- arguments and TLS -----------------------------------------------------------------------------------


def test_defaults_are_utf8mb4_and_no_autocommit(db: Any) -> None:
    """Without a word in the URL the connection speaks all of Unicode and commits nothing by itself."""
    assert _rows(db, "SELECT @@character_set_client, @@autocommit") == [("utf8mb4", 0)]


def test_autocommit_needs_transaction_none(driver: Driver[Any], mysql_database: MySQLDatabase) -> None:
    """Where the lease is to roll back, autocommit is refused; with transaction="none" it is the task's own."""
    query = {"autocommit": "1"}
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target_of(mysql_database.url, query=query))

    db = driver.open(target_of(mysql_database.url, query=query, options=Options(transaction="none")), 5)
    assert _rows(db, "SELECT @@autocommit") == [(1,)]
    driver.close(db, 1)


def test_unix_socket_of_the_url_is_used(row: Row, driver: Driver[Any], tls_server: MariaDB) -> None:
    """`unix_socket` is the library's own name, and wins over the host."""
    db = driver.open(target_of(tls_server.unix_url("cars").replace("mysql://", f"mysql+{row.name}://")), 5)

    assert _rows(db, "SELECT SUBSTRING_INDEX(USER(), '@', -1)") == [("localhost",)]
    driver.close(db, 1)


def test_server_shows_the_process_of_a_session(row: Row, driver: Driver[Any], tls_server: MariaDB) -> None:
    """There is no argument for a label in mysqlclient; its library tells the process id by itself."""
    db = driver.open(target_of(_url(row, tls_server, "plain")), 5)
    asked = "SELECT ATTR_NAME, ATTR_VALUE FROM performance_schema.session_connect_attrs"
    found = dict(_rows(db, f"{asked} WHERE PROCESSLIST_ID=CONNECTION_ID()"))
    driver.close(db, 1)

    assert found["_pid"] == str(os.getpid())
    if row.name == "mysqlconnector":
        assert found["program_name"].startswith("taskconn:default:")


def test_interrupts_by_the_hundred(row: Row, tls_server: MariaDB, script: Callable[..., Script]) -> None:
    """Over TLS, too, no interrupt gives a wrong answer, hangs or is masked."""
    run = script(
        [sys.executable, "-W", "ignore", "-m", "tests.drivers.fuzz", row.name, _url(row, tls_server, "tls"), "60"]
    )

    counts = json.loads(run.succeed(timeout=240).splitlines()[-1])

    assert counts.pop("interrupts") == 60
    assert {name for name, number in counts.items() if number} <= {"uninterrupted", "right again", "refused"}
