"""What both PostgreSQL drivers claim beyond the contract: bounds, outcomes of COMMIT, sessions, TLS, poolers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

import taskconn
from examples.servers import PgBouncer, PostgreSQL
from taskconn import errors
from taskconn.driver import Driver, Peek
from taskconn.drivers.psycopg import Psycopg
from taskconn.drivers.psycopg2 import Psycopg2
from taskconn.errors import ConnectionFailedError, InvalidSettingsError
from taskconn.options import Options
from tests.conftest import _start
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase
from tests.support.process import Script
from tests.support.wire import Wire

#: Name of a driver to its scheme.
SCHEMES = {"psycopg": "postgresql", "psycopg2": "postgresql+psycopg2"}

Make = Callable[..., Any]


@pytest.fixture(params=list(SCHEMES))
def name(request: pytest.FixtureRequest) -> str:
    """Give the name of each driver."""
    return str(request.param)


@pytest.fixture
def driver(name: str) -> Driver[Any]:
    """Give each driver."""
    return Psycopg() if name == "psycopg" else Psycopg2()


@pytest.fixture
def url(name: str, postgresql_database: PostgreSQLDatabase) -> str:
    """Give the URL of a database of the test's own, for the driver."""
    postgresql_database.query("CREATE TABLE car (id INT UNIQUE DEFERRABLE INITIALLY DEFERRED, name TEXT)")
    return _for(name, postgresql_database.url)


@pytest.fixture
def open_(driver: Driver[Any], url: str) -> Iterator[Make]:
    """Give a function that opens a connection, with changes to its target; all are closed."""
    opened = []

    def make(**changes: Any) -> Any:
        opened.append(driver.open(target_of(changes.pop("url", url), **changes), 5))
        return opened[-1]

    yield make
    for connection in opened:
        driver.close(connection, 1)


@pytest.fixture(scope="module")
def tls_server() -> Iterator[PostgreSQL]:
    """Give a server with TLS that tests may pause, if they resume it."""
    with _start(PostgreSQL(tls=True)) as server:
        yield server


def _for(name: str, url: str) -> str:
    return url.replace("postgresql:", f"{SCHEMES[name]}:", 1)


def _run(db: Any, sql: str, *arguments: Any) -> Any:
    cursor = db.cursor()
    cursor.execute(sql, arguments or None)
    return cursor


def _value(db: Any, sql: str, *arguments: Any) -> Any:
    return _run(db, sql, *arguments).fetchone()[0]


@contextmanager
def _frozen(server: PostgreSQL) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


# -- bounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["url", "unix_url", "tls_url"])
@pytest.mark.parametrize("action", ["commit", "rollback", "reset"])
def test_frozen_server_is_given_up_in_time(
    name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL, way: str, action: str
) -> None:
    """A server that is there and silent costs no more than the bound, over TCP, a Unix socket and TLS."""
    db = open_(url=_for(name, getattr(tls_server, way)()))
    if action != "reset":
        _run(db, "SELECT 1")

    with _frozen(tls_server):
        started = time.monotonic()
        with pytest.raises(driver.errors):
            getattr(driver, action)(db, 0.1)
        elapsed = time.monotonic() - started

    assert elapsed < 0.6
    assert driver.session(db).pending == (action != "reset")
    assert not driver.is_open(db)


def test_frozen_server_is_not_alive_and_closing_does_not_wait(
    name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL
) -> None:
    """A health check says no within its bound; a goodbye is sent, not waited for."""
    first, second = (open_(url=_for(name, tls_server.tls_url())) for _ in range(2))

    with _frozen(tls_server):
        started = time.monotonic()
        assert not driver.is_alive(first, 0.1)
        driver.close(second, 0.1)
        elapsed = time.monotonic() - started

    assert elapsed < 0.7


def test_bound_of_one_settlement_does_not_touch_the_next(driver: Driver[Any], open_: Make) -> None:
    """What was answered in time is not shut when its deadline comes."""
    db = open_()
    _run(db, "SELECT 1")
    driver.commit(db, 0.1)

    _run(db, "SELECT pg_sleep(0.2)")
    driver.commit(db, 5)

    assert driver.is_open(db)


# -- outcomes --------------------------------------------------------------------------------------------


def test_lost_answer_to_commit_is_pending(
    name: str, driver: Driver[Any], url: str, postgresql_database: PostgreSQLDatabase, wire: Callable[..., Wire]
) -> None:
    """Nobody can tell whether a COMMIT without an answer was done; here it was."""
    proxy = wire(postgresql_database.server)
    db = driver.open(target_of(url, port=proxy.port), 5)
    _run(db, "INSERT INTO car VALUES (1, 'Volvo')")

    proxy.hold_answers()
    with pytest.raises(driver.errors):
        driver.commit(db, 0.2)

    assert driver.session(db).pending
    deadline = time.monotonic() + 5
    while not postgresql_database.query("SELECT 1 FROM car") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert postgresql_database.query("SELECT name FROM car") == [("Volvo",)]
    proxy.release_answers()


def test_commit_that_the_server_refuses_is_not_pending(driver: Driver[Any], open_: Make) -> None:
    """A deferred constraint speaks up at COMMIT: the server has rolled back, and said so."""
    db = open_()
    _run(db, "INSERT INTO car VALUES (1, 'Volvo'), (1, 'Lada')")

    with pytest.raises(driver.errors, match="duplicate key"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    assert driver.is_settled(db)
    assert _value(db, "SELECT count(*) FROM car") == 0


def test_commit_on_a_dead_connection_is_not_sent(
    driver: Driver[Any], open_: Make, postgresql_database: PostgreSQLDatabase
) -> None:
    """A session that the server ended before the COMMIT has certainly not committed."""
    db = open_()
    _run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    postgresql_database.server.kill_session(int(driver.identity(db) or 0))

    with pytest.raises(driver.errors, match="COMMIT was not sent"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    assert not driver.is_open(db)


def test_commit_after_a_swallowed_error_is_an_error(driver: Driver[Any], open_: Make) -> None:
    """PostgreSQL answers such a COMMIT by ROLLBACK, and no library says so: a task would report work that is lost."""
    db = open_()
    _run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    with pytest.raises(driver.errors, match="division by zero"):
        _run(db, "SELECT 1/0")

    with pytest.raises(driver.errors, match="its error was swallowed"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    driver.rollback(db, 5)
    assert driver.is_settled(db)


def test_transaction_begun_by_sql_is_settled_too(driver: Driver[Any], open_: Make) -> None:
    """BEGIN and COMMIT as statements pass the library by; what they leave is the lease's to end all the same."""
    db = open_()
    db.autocommit = True
    _run(db, "BEGIN")
    _run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    assert not driver.is_settled(db)
    driver.rollback(db, 5)
    assert driver.is_settled(db)
    assert not driver.is_as_opened(db)
    driver.restore(db)

    _run(db, "INSERT INTO car VALUES (2, 'Lada')")
    _run(db, "COMMIT")
    driver.commit(db, 5)
    _run(db, "INSERT INTO car VALUES (3, 'Saab')")
    driver.rollback(db, 5)

    assert _run(db, "SELECT name FROM car").fetchall() == [("Lada",)]


def test_savepoint_undoes_a_failed_statement_alone(driver: Driver[Any], open_: Make) -> None:
    """After going back to a savepoint the transaction goes on, with what was done before it."""
    db = open_()
    _run(db, "INSERT INTO car VALUES (1, 'Volvo')")
    driver.savepoint(db, "before")
    with pytest.raises(driver.errors, match="division by zero"):
        _run(db, "SELECT 1/0")

    driver.rollback_to(db, "before")
    driver.release(db, "before")
    driver.commit(db, 5)

    assert _run(db, "SELECT name FROM car").fetchall() == [("Volvo",)]


# -- liveness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["url", "unix_url", "tls_url"])
def test_killed_session_shows_at_a_glance(
    name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL, way: str
) -> None:
    """The end of a session is seen without a round trip."""
    db = open_(url=_for(name, getattr(tls_server, way)()))
    assert driver.peek(db) is Peek.QUIET

    tls_server.kill_session(int(driver.identity(db) or 0))

    assert driver.peek(db) is Peek.DEAD
    assert not driver.is_alive(db, 1)


def test_lease_replaces_a_killed_session(name: str, url: str, postgresql_database: PostgreSQLDatabase) -> None:
    """The next lease gets a new session, and no error."""
    cars = taskconn.Registry().add("cars", url, health_check_interval=0)
    with taskconn.lease(cars) as db:
        first = _value(db, "SELECT pg_backend_pid()")
    postgresql_database.server.kill_session(first)

    with taskconn.lease(cars) as db:
        assert _value(db, "SELECT pg_backend_pid()") != first
    cars.registry.close()


def test_notification_makes_an_idle_connection_readable(
    driver: Driver[Any], open_: Make, postgresql_database: PostgreSQLDatabase
) -> None:
    """A task's LISTEN outlives it unless `reset` is on; the connection is dropped when something is heard."""
    db = open_()
    _run(db, "LISTEN news")
    driver.commit(db, 5)
    postgresql_database.query("NOTIFY news")

    deadline = time.monotonic() + 5
    while driver.peek(db) is Peek.QUIET and time.monotonic() < deadline:
        time.sleep(0.01)

    assert driver.peek(db) is Peek.READABLE


# -- between two tasks -----------------------------------------------------------------------------------


def test_reset_clears_the_session(driver: Driver[Any], open_: Make, postgresql_database: PostgreSQLDatabase) -> None:
    """Settings, tables, locks, prepared statements and LISTEN of one task are gone; the URL's settings are there."""
    db = open_(query={"options": "-c search_path=pg_catalog,public"})
    for sql in (
        "SET search_path = nowhere",
        "CREATE TEMPORARY TABLE mine (id INT)",
        "SELECT pg_advisory_lock(4711)",
        "PREPARE mine AS SELECT 1",
        "LISTEN news",
    ):
        _run(db, sql)
    driver.commit(db, 5)
    before = driver.session(db).sent

    driver.reset(db, 5)

    assert driver.session(db).sent == before
    assert driver.is_settled(db)
    assert _value(db, "SHOW search_path") == "pg_catalog,public"
    assert _value(db, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0
    assert _value(db, "SELECT count(*) FROM pg_prepared_statements") == 0
    assert _value(db, "SELECT count(*) FROM pg_listening_channels()") == 0
    assert postgresql_database.query("SELECT pg_try_advisory_lock(4711)") == [(True,)]
    driver.rollback(db, 5)


def test_autocommit_of_a_task_is_not_the_next_ones(name: str, url: str) -> None:
    """Autocommit and isolation level are the client's, and are put back although nothing was sent."""
    cars = taskconn.Registry().add("cars", url)
    with taskconn.lease(cars) as db:
        db.autocommit = True

    with taskconn.lease(cars) as db:
        assert not db.autocommit
        db.isolation_level = 4 if name == "psycopg" else "SERIALIZABLE"
        _run(db, "INSERT INTO car VALUES (1, 'Volvo')")
        db.commit()

    with taskconn.lease(cars) as db:
        assert _value(db, "SHOW transaction_isolation") == "read committed"
    cars.registry.close()


@pytest.mark.parametrize("how", [{"query": {"autocommit": "1"}}, {"connect_args": {"autocommit": True}}])
def test_autocommit_needs_transaction_none(driver: Driver[Any], open_: Make, url: str, how: dict[str, Any]) -> None:
    """Where the lease is to roll back, autocommit is refused; with transaction="none" it is the task's own."""
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target_of(url, **how))

    db = open_(**how, options=Options(transaction="none"))
    assert db.autocommit
    driver.reset(db, 5)
    driver.restore(db)
    assert db.autocommit


@pytest.mark.parametrize(
    ("task", "round_trips"),
    [(str, 0), (lambda db: _run(db, "SELECT 1"), 3)],
    ids=["no statement", "one"],
)
def test_lease_costs_no_round_trip_of_its_own(
    url: str, postgresql_database: PostgreSQLDatabase, wire: Callable[..., Wire], task: Any, round_trips: int
) -> None:
    """A task that sends nothing costs nothing; else BEGIN, the statement and COMMIT are all that passes."""
    proxy = wire(postgresql_database.server)
    cars = taskconn.Registry().add("cars", url.replace(f":{postgresql_database.server.port}/", f":{proxy.port}/"))
    with taskconn.lease(cars):
        pass
    before = proxy.requests

    with taskconn.lease(cars) as db:
        task(db)

    assert proxy.requests - before == round_trips
    cars.registry.close()


# -- forks -----------------------------------------------------------------------------------------------

_FORK_IN_BLOCK = """
import gc, json, os, sys
import taskconn
from tests.drivers.test_postgresql import _value

url, action = sys.argv[1:]
cars = taskconn.Registry().add("cars", url)
with taskconn.lease(cars) as db:
    before = _value(db, "SELECT pg_backend_pid()")
    db.cursor().execute("INSERT INTO car VALUES (1, 'parent')")
    cursor = db.cursor("half")
    cursor.execute("SELECT generate_series(1, 1000)")
    pid = os.fork()
    if pid == 0:
        if action == "use":
            for call in (db.commit, db.rollback, lambda: cursor.fetchone(), lambda: _value(db, "SELECT 1"), db.cancel):
                try:
                    call()
                    os._exit(1)
                except taskconn.errors.InheritedConnectionError:
                    pass
            with taskconn.lease(cars) as own:
                assert _value(own, "SELECT pg_backend_pid()") != before
            cars.registry.close()
            os._exit(0)
        elif action == "close":
            cursor.close()
            db.close()
            os._exit(0)
        elif action == "collect":
            del cursor, db
            gc.collect()
            os._exit(0)
        elif action == "sys.exit":
            sys.exit(0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(cursor.fetchall()) == 1000
    assert _value(db, "SELECT pg_backend_pid()") == before
with taskconn.lease(cars) as db:
    assert _value(db, "SELECT pg_backend_pid()") == before
    print(json.dumps(_value(db, "SELECT name FROM car")))
cars.registry.close()
"""


@pytest.mark.parametrize("action", ["use", "close", "collect", "sys.exit", "os._exit"])
def test_child_in_the_middle_of_a_lease_leaves_it_alone(url: str, script: Callable[..., Script], action: str) -> None:
    """The parent's transaction and its server-side cursor go on, whatever a child does with them."""
    output = script(_FORK_IN_BLOCK, url, action).succeed()

    assert output.splitlines() == ['"parent"']


# -- where and how to connect ----------------------------------------------------------------------------


def test_label_names_alias_and_process(open_: Make) -> None:
    """The server's people see which process a session belongs to, unless a name is given or label is off."""
    asked = "SELECT current_setting('application_name')"

    label = _value(open_(alias="a" * 80), asked)
    assert label.startswith("taskconn:aaa")
    assert label.endswith(f":{os.getpid()}")
    assert len(label) == 63
    assert _value(open_(query={"application_name": "shop"}), asked) == "shop"
    assert _value(open_(options=Options(label=False)), asked) == ""


def test_unix_socket_is_named_by_host(name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL) -> None:
    """The folder of the socket is libpq's `host`, and the address in messages."""
    target = target_of(_for(name, tls_server.unix_url()))
    assert target.address == str(tls_server.folder)

    db = open_(url=_for(name, tls_server.unix_url()))

    assert _value(db, "SELECT inet_server_addr()") is None


def test_part_that_is_given_twice_is_refused(driver: Driver[Any], url: str) -> None:
    """An URL with a host and a parameter `host` names two servers."""
    with pytest.raises(InvalidSettingsError, match="'host' is given twice"):
        driver.validate(target_of(url, query={"host": "/tmp"}))


def test_certificate_is_verified_as_the_url_says(
    name: str, open_: Make, tls_server: PostgreSQL, tmp_path: Path
) -> None:
    """A server that a stranger vouches for is refused, and the error names the host; the right authority is trusted."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    good = _for(name, tls_server.tls_url())
    assert _value(open_(url=good), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

    cars = taskconn.Registry().add("cars", good.replace(str(tls_server.authority_path), str(tmp_path / "stranger.pem")))
    with (
        pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1.*certificate verify failed"),
        taskconn.lease(cars),
    ):
        pass
    cars.registry.close()


def test_wrong_password_names_address_and_alias(url: str) -> None:
    """What only the server can tell is one error, without the password."""
    cars = taskconn.Registry().add("cars", url.replace("s3cret", "hunter2"))

    with pytest.raises(ConnectionFailedError, match=r"'cars' to 127\.0\.0\.1") as caught, taskconn.lease(cars):
        pass

    assert "hunter2" not in str(caught.value)
    cars.registry.close()


def test_pooler_in_transaction_mode_changes_sessions(open_: Make, name: str, pgbouncer: PgBouncer) -> None:
    """Behind PgBouncer two transactions of one connection may be two sessions: what a session keeps is not kept."""
    first, second = (open_(url=_for(name, pgbouncer.url())) for _ in range(2))
    for db in (first, second):
        _run(db, "SELECT 1")  # both at once: two sessions are opened
    for db in (first, second):
        db.commit()

    seen = set()
    for db in (first, first, second, first):
        seen.add(_value(db, "SELECT pg_backend_pid()"))
        db.commit()

    assert len(seen) == 2


def test_joined_lease_does_not_settle_by_a_block(name: str, url: str) -> None:
    """A block that would commit is refused where the outer lease is to; with a transaction open it is a savepoint."""
    cars = taskconn.Registry().add("cars", url)
    with taskconn.lease(cars), taskconn.lease(cars) as inner:
        with pytest.raises(errors.ManualSettlementError, match="outermost lease"):
            inner.autocommit = True
        if name == "psycopg":
            with pytest.raises(errors.ManualSettlementError, match="outermost lease"), inner.transaction():
                pass
            _run(inner, "SELECT 1")
            with inner.transaction():
                _run(inner, "INSERT INTO car VALUES (1, 'Volvo')")
    cars.registry.close()
