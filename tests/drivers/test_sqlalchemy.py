"""What is particular to SQLAlchemy: sessions of leases, its engine, its isolation levels, forks, interrupts, SQLite."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, func, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from taskconn import Registry, lease
from taskconn.drivers.sqlalchemy import Connection, SQLAlchemy
from taskconn.errors import (
    CommitOutcomeUnknownError,
    InvalidSettingsError,
    ManualSettlementError,
    TaintedConnectionError,
    UnknownOptionError,
)
from tests.drivers.rows import target_of
from tests.support.core import task_system
from tests.support.databases import MySQLDatabase
from tests.support.process import Script
from tests.support.wire import Wire


class Base(DeclarativeBase):
    pass


class Car(Base):
    __tablename__ = "car"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)


class Limit(Exception):  # noqa: N818 -- as Celery's is called
    pass


def _url(database: MySQLDatabase, port: int | None = None, driver: str = "pymysql") -> str:
    url = database.url.replace("mysql://", f"sqlalchemy+mysql+{driver}://")
    return url if port is None else url.replace(f":{database.server.port}/", f":{port}/")


@pytest.fixture
def cars(mysql_database: MySQLDatabase) -> MySQLDatabase:
    """Give a database with the table of `Car`."""
    mysql_database.query(
        "CREATE TABLE car (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) UNIQUE NOT NULL) ENGINE=InnoDB"
    )
    return mysql_database


@pytest.fixture
def aliases(cars: MySQLDatabase) -> Iterator[Callable[..., Any]]:
    """Give a function that makes a handle of the database, with options."""
    registry = Registry()
    number = iter(range(100))

    def make(*, port: int | None = None, driver: str = "pymysql", **options: Any) -> Any:
        return registry.add(f"cars{next(number)}", _url(cars, port, driver), **options)

    yield make
    registry.close()


def _names(database: MySQLDatabase) -> list[str]:
    return [name for (name,) in database.query("SELECT name FROM car ORDER BY name")]


# -- what a task gets ------------------------------------------------------------------------------------


def test_session_is_committed_with_what_was_never_flushed(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """An object that was only added has sent nothing, and is there for all others when the lease has ended."""
    with lease(aliases()) as db:
        assert isinstance(db, Session)
        db.add(Car(name="Volvo"))

    assert _names(cars) == ["Volvo"]


def test_failed_task_leaves_nothing(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """What was flushed is rolled back with what was not."""
    with pytest.raises(ZeroDivisionError), lease(aliases()) as db:
        db.add(Car(name="Volvo"))
        db.flush()
        db.add(Car(name="Lada"))
        raise ZeroDivisionError

    assert _names(cars) == []


def test_flush_that_fails_at_the_end_is_the_librarys_error(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """The last flush belongs to the task: nothing was committed, and that is known."""
    handle = aliases()
    with pytest.raises(IntegrityError, match="Duplicate entry"), lease(handle) as db:
        db.add_all([Car(name="Volvo"), Car(name="Volvo")])

    with lease(handle) as db:
        assert db.scalars(select(func.count()).select_from(Car)).one() == 0
    assert _names(cars) == []


def test_session_is_the_leases_and_useless_afterwards(aliases: Callable[..., Any]) -> None:
    """The next lease has a session of its own on the same connection; the old one refuses, and can't speak there."""
    handle = aliases()
    with lease(handle) as old:
        first = old.scalar(text("SELECT CONNECTION_ID()"))
    with lease(handle) as new:
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            old.scalar(text("SELECT 1"))
        assert (new is old, new.scalar(text("SELECT CONNECTION_ID()"))) == (False, first)


def test_joined_lease_gets_the_same_session(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """Only the outermost lease settles; what a joined one tries by hand is refused and changes nothing."""
    handle = aliases()
    with lease(handle) as outer:
        outer.add(Car(name="Volvo"))
        with lease(handle) as inner:
            assert inner is outer
            for verb in ("begin", "commit", "rollback", "close"):
                with pytest.raises(ManualSettlementError, match="Leave it to the outermost lease"):
                    getattr(inner, verb)()
            with inner.begin_nested():
                inner.add(Car(name="Lada"))

    assert _names(cars) == ["Lada", "Volvo"]


def test_closing_a_session_by_hand_rolls_back_and_goes_on(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """As with any session: `close()` ends its transaction, and the next statement begins one."""
    with lease(aliases()) as db:
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        db.close()
        db.add(Car(name="Lada"))

    assert _names(cars) == ["Lada"]


def test_connection_is_injected_if_asked_for(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """`inject="connection"` gives SQLAlchemy's own kind of connection, settled as a session is."""
    with lease(aliases(inject="connection")) as db:
        assert isinstance(db, Connection)
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))

    assert _names(cars) == ["Volvo"]


def test_statement_past_sqlalchemy_is_settled_too(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """A cursor of the DBAPI's, and the DBAPI's own connection, write into the lease's transaction."""
    handle = aliases()
    with lease(handle) as db:
        db.connection().connection.cursor().execute("INSERT INTO car (name) VALUES ('Volvo')")
    with lease(handle) as db:
        db.connection().connection.driver_connection.query("INSERT INTO car (name) VALUES ('Lada')")
    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.connection().connection.driver_connection.query("INSERT INTO car (name) VALUES ('Saab')")
        raise ZeroDivisionError

    assert _names(cars) == ["Lada", "Volvo"]


def test_engine_is_the_tasks_to_settle(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """With `inject="engine"` the task begins and ends its transactions; one connection is kept between leases."""
    handle = aliases(inject="engine")
    with lease(handle) as engine:
        with engine.begin() as db:
            db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        with engine.connect() as db:
            db.execute(text("INSERT INTO car (name) VALUES ('Lada')"))
            first = db.scalar(text("SELECT CONNECTION_ID()"))
    with lease(handle) as engine, engine.connect() as db:
        assert db.scalar(text("SELECT CONNECTION_ID()")) == first

    assert _names(cars) == ["Volvo"]


def test_connection_that_a_task_keeps_of_an_engine_is_dropped(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """What is still checked out at the end of a lease is nobody's to use: its transaction ends with it."""
    handle = aliases(inject="engine")
    with lease(handle) as engine:
        kept = engine.connect()
        kept.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
    with lease(handle) as engine, engine.connect() as db:
        assert db.scalar(text("SELECT COUNT(*) FROM car")) == 0

    kept.invalidate()


def test_second_connection_is_not_opened_in_secret(aliases: Callable[..., Any]) -> None:
    """An engine reached through a session opens nothing that no pool of taskconn's would know of."""
    with lease(aliases()) as db, pytest.raises(InvalidRequestError, match="inject='engine'"):
        db.connection().engine.connect()


@pytest.mark.parametrize("inject", ["session", "connection", "engine"])
def test_lease_without_a_statement_costs_no_round_trip(
    aliases: Callable[..., Any], cars: MySQLDatabase, wire: Callable[..., Wire], inject: str
) -> None:
    """Nothing is sent by taking and giving back, nor by beginning what sends nothing."""
    counted = wire(cars.server)
    handle = aliases(port=counted.port, inject=inject)
    with lease(handle):
        pass
    before = counted.sent, counted.requests

    for _ in range(3):
        with lease(handle) as db:
            if inject == "session":
                db.connection()

    assert (counted.sent, counted.requests) == before


# -- what a task may change ------------------------------------------------------------------------------


def test_isolation_level_is_put_back(aliases: Callable[..., Any]) -> None:
    """One task's isolation level, and its other execution options, are not the next one's."""
    handle = aliases()
    with lease(handle) as db:
        usual = db.connection().get_isolation_level()
    with lease(handle) as db:
        db.connection(execution_options={"isolation_level": "SERIALIZABLE", "mark": 1})
        assert db.connection().get_isolation_level() == "SERIALIZABLE"
    with lease(handle) as db:
        assert db.connection().get_isolation_level() == usual
        assert "mark" not in db.connection().get_execution_options()


@pytest.mark.parametrize("has_statement", [True, False], ids=["with a statement", "without"])
def test_autocommit_of_the_library_is_put_back(
    aliases: Callable[..., Any], cars: MySQLDatabase, *, has_statement: bool
) -> None:
    """A task that switches autocommit on by the DBAPI's own method leaves a connection that rolls back."""
    handle = aliases(inject="connection")
    with lease(handle) as db:
        db.connection.autocommit(True)
        if has_statement:
            db.scalar(text("SELECT 1"))

    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        raise ZeroDivisionError
    assert _names(cars) == []


def test_reset_function_gets_what_the_task_gets(aliases: Callable[..., Any]) -> None:
    """A reset may send statements: the transaction that they begin ends with it."""
    handle = aliases(reset=lambda db: db.execute(text("SET @mark = NULL")))
    with lease(handle) as db:
        first = db.scalar(text("SELECT CONNECTION_ID() FROM (SELECT @mark := 1) AS set_mark"))
    with lease(handle) as db:
        assert db.scalar(text("SELECT @mark")) is None
        assert db.scalar(text("SELECT CONNECTION_ID()")) == first


def test_reset_replaces_the_connection(aliases: Callable[..., Any]) -> None:
    """No dialect has a reset of its own: only a new connection is clean for certain."""
    handle = aliases(reset=True)
    with lease(handle) as db:
        first = db.scalar(text("SELECT CONNECTION_ID()"))
    with lease(handle) as db:
        assert db.scalar(text("SELECT CONNECTION_ID()")) != first


# -- interrupts and losses -------------------------------------------------------------------------------


def _strike(*_: object) -> None:
    raise Limit


class Unheard(Exception):  # noqa: N818 -- as above
    """Python itself has swallowed the limit: it struck in a destructor, or in the callback of a weak reference."""


def _work_until_struck(db: Session, number: int) -> None:
    """Ask and write until a limit strikes; nothing of it may be there afterwards."""
    signal.setitimer(signal.ITIMER_REAL, 0.0002 * (number % 20 + 1))
    for _ in range(50):
        db.add(Car(name=f"flushed {time.monotonic_ns()}"))
        db.flush()
        assert db.scalar(text("SELECT :n"), {"n": number}) == number
    raise Unheard


def test_limit_reaches_the_task_as_what_it_is(
    aliases: Callable[..., Any], cars: MySQLDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 80 real signals in statements, flushes and fetches: the exception itself, and no answer of another's."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # one may strike in a destructor
    handle = aliases()
    seen: list[type[Exception]] = []
    before = signal.signal(signal.SIGALRM, _strike)
    try:
        with task_system(Limit):
            for number in range(80):
                with pytest.raises((Limit, Unheard)) as caught, lease(handle) as db:
                    _work_until_struck(db, number)
                seen.append(caught.type)
                with lease(handle) as db:
                    assert db.scalar(text("SELECT :n"), {"n": -number}) == -number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert seen.count(Limit) >= 50
    assert _names(cars) == []


def test_limit_in_a_long_statement_is_not_waited_out(aliases: Callable[..., Any]) -> None:
    """Neither the cursor nor the transaction is closed by way of the server, which is still busy."""
    before = signal.signal(signal.SIGALRM, _strike)
    started = time.monotonic()
    try:
        with pytest.raises(Limit), lease(aliases()) as db:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            db.execute(text("SELECT SLEEP(3)"))
    finally:
        signal.signal(signal.SIGALRM, before)

    assert time.monotonic() - started < 1


def test_swallowed_limit_is_noticed(aliases: Callable[..., Any]) -> None:
    """A task that goes on gets a clean error at its next statement, not the reply that it did not wait for."""
    before = signal.signal(signal.SIGALRM, _strike)
    try:
        with pytest.raises(TaintedConnectionError, match="Limit"), lease(aliases()) as db:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                db.execute(text("SELECT SLEEP(3)"))
            except Limit:
                pass
            with pytest.raises(TaintedConnectionError, match="Limit"):
                db.execute(text("SELECT 'fresh'"))
    finally:
        signal.signal(signal.SIGALRM, before)


def test_commit_without_an_answer_has_an_unknown_outcome(
    aliases: Callable[..., Any], cars: MySQLDatabase, wire: Callable[..., Wire]
) -> None:
    """COMMIT was sent and its answer never came: the error says so, although here the server has committed."""
    cut = wire(cars.server)
    with pytest.raises(CommitOutcomeUnknownError), lease(aliases(port=cut.port, settle_timeout=0.3)) as db:
        db.add(Car(name="Volvo"))
        db.flush()
        cut.hold_answers()
    cut.release_answers()

    assert _names(cars) == ["Volvo"]


def test_lost_connection_is_replaced(aliases: Callable[..., Any], cars: MySQLDatabase) -> None:
    """A session that the server has ended shows at the next lease after half a second, without an error."""
    handle = aliases()
    with lease(handle) as db:
        first = db.scalar(text("SELECT CONNECTION_ID()"))
    cars.query(f"KILL {first}")
    time.sleep(0.6)

    with lease(handle) as db:
        assert db.scalar(text("SELECT CONNECTION_ID()")) != first


# -- forks -----------------------------------------------------------------------------------------------

_FORK = """
import gc, os, sys
from sqlalchemy import text
import taskconn

url, inject, *actions = sys.argv[1:]
taskconn.configure({"default": {"url": url, "inject": inject}})

def child(action, held, kept, session_id):
    try:
        if action == "use":
            kept.execute(text("INSERT INTO car (name) VALUES ('child')"))
    except Exception as error:
        print("child:", type(error).__name__, flush=True)
    if action == "close":
        kept.close()
    elif action == "dispose":
        (kept.connection() if inject == "session" else kept).engine.dispose()
    elif action == "own":
        with taskconn.lease() as own:
            own = own.connect() if inject == "engine" else own
            print("child: own", own.execute(text("SELECT CONNECTION_ID()")).scalar() != session_id, flush=True)
            if inject == "engine":
                own.close()

for action in actions:
    held = taskconn.lease()
    db = held.__enter__()
    kept = db.connect() if inject == "engine" else db
    kept.execute(text("INSERT INTO car (name) VALUES (:name)"), {"name": action})
    session_id = kept.execute(text("SELECT CONNECTION_ID()")).scalar()
    sys.stdout.flush()
    if os.fork() == 0:
        child(action, held, kept, session_id)
        if action == "os._exit":
            os._exit(0)
        if action == "drop":
            held = db = kept = None
            gc.collect()
        sys.exit(0)
    os.wait()
    print(action, kept.execute(text("SELECT CONNECTION_ID()")).scalar() == session_id)
    if inject == "engine":
        kept.commit()
        kept.close()
    held.__exit__(None, None, None)
"""

_ACTIONS = ["use", "close", "drop", "dispose", "own", "sys.exit", "os._exit"]


@pytest.mark.parametrize(
    ("driver", "inject"),
    [("pymysql", "session"), ("pymysql", "connection"), ("pymysql", "engine"), ("mysqldb", "session")],
    ids=["session", "connection", "engine", "mysqlclient"],
)
def test_child_leaves_its_parents_transaction_alone(
    cars: MySQLDatabase, driver: str, inject: str, script: Callable[..., Script]
) -> None:
    """A connection that is checked out at the fork is not rolled back by a child, whatever becomes of it there."""
    if driver == "mysqldb":
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")

    output = script(_FORK, _url(cars, driver=driver), inject, *_ACTIONS).succeed(60)

    said = {"use": ["child: InheritedConnectionError"], "own": ["child: own True"]}
    assert output.splitlines() == [line for name in _ACTIONS for line in (*said.get(name, []), f"{name} True")]
    assert _names(cars) == sorted(_ACTIONS, key=str.lower)


_SQLITE_FORK = """
import os, sys
from sqlalchemy import text
import taskconn

taskconn.configure({"default": "sqlalchemy+sqlite:///" + sys.argv[1]})
with taskconn.lease() as db:
    db.execute(text("CREATE TABLE car (name TEXT)"))
    db.execute(text("INSERT INTO car VALUES ('parent')"))
    if sys.argv[2] == "idle":
        db.commit()
    else:
        pid = os.fork()
if sys.argv[2] == "idle":
    pid = os.fork()
if pid == 0:
    try:
        with taskconn.lease() as db:
            db.execute(text("INSERT INTO car VALUES ('child')"))
    except Exception as error:
        print(type(error).__name__, flush=True)
    sys.exit(0)
os.wait()
with taskconn.lease() as db:
    print(db.execute(text("SELECT name FROM car")).scalars().all())
"""


@pytest.mark.parametrize(
    ("state", "said"),
    [("idle", ["['parent', 'child']"]), ("leased", ["InheritedFileError", "['parent']"])],
    ids=["idle", "leased"],
)
def test_sqlites_rules_apply_to_a_fork(
    tmp_path: Path, state: str, said: list[str], script: Callable[..., Script]
) -> None:
    """Idle connections are closed before a fork; a file that was in use then is refused in the child."""
    assert script(_SQLITE_FORK, str(tmp_path / "cars.db"), state).succeed().splitlines() == said


# -- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "remedy"),
    [
        ("sqlalchemy://app@db/shop", {}, r"Write sqlalchemy\+mysql\+pymysql://"),
        ("sqlalchemy+nosuch://app@db/shop", {}, r"can't make an engine .*\n.*install the package"),
        ("sqlalchemy+sqlite:///x.db", {"engine_args": {"pool_size": 5}}, "Write the option 'max_size' instead"),
        (
            "sqlalchemy+sqlite:///x.db",
            {"engine_args": {"ecko": True}},
            r"can't make an engine of it \(Invalid argument",
        ),
        ("sqlalchemy+sqlite+aiosqlite:///x.db", {}, r"is a driver for asyncio|install the package"),
        ("sqlalchemy+sqlite:///x.db", {"engine_args": {"isolation_level": "AUTOCOMMIT"}}, 'transaction="none"'),
    ],
    ids=["no dialect", "unknown dialect", "pool", "unknown argument", "asyncio", "autocommit"],
)
def test_wrong_settings_stop_a_worker(url: str, options: dict[str, Any], remedy: str) -> None:
    """What SQLAlchemy or taskconn can't make sense of is refused before anything is opened."""
    registry = Registry()
    registry.add("orders", url, **options)

    with pytest.raises(InvalidSettingsError, match=remedy):
        registry.check()


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("mysql+pymysql://app@db/shop?charsett=utf8mb4", "charset"),
        ("mysql+mysqlconnector://app@db/shop?charsett=utf8mb4", "charset"),
        ("postgresql+psycopg://app@db/shop?sslmod=require", "sslmode"),
        ("postgresql+psycopg2://app@db/shop?sslmod=require", "sslmode"),
        ("sqlite:///x.db?time_out=1", "timeout"),
    ],
    ids=["pymysql", "mysqlconnector", "psycopg", "psycopg2", "sqlite"],
)
def test_argument_of_the_library_is_checked(url: str, meant: str) -> None:
    """A slip of the pen does not wait for the first connection; what is right passes."""
    registry = Registry()
    registry.add("orders", f"sqlalchemy+{url}")

    with pytest.raises(UnknownOptionError, match=f"Did you mean '{meant}'"):
        registry.check()

    registry.add("orders", f"sqlalchemy+{url.partition('?')[0]}?{meant}={url.rpartition('=')[2]}")
    registry.check()


def test_engine_arguments_reach_the_engine(tmp_path: Path) -> None:
    """`engine_args` are `create_engine`'s; with AUTOCOMMIT the task settles nothing, and says so."""
    registry = Registry()
    options = {"engine_args": {"isolation_level": "AUTOCOMMIT"}, "transaction": "none"}
    handle = registry.add("orders", f"sqlalchemy+sqlite:///{tmp_path}/x.db", **options)
    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.execute(text("CREATE TABLE car (name TEXT)"))
        db.execute(text("INSERT INTO car VALUES ('Volvo')"))
        raise ZeroDivisionError

    with lease(handle) as db:
        assert db.execute(text("SELECT name FROM car")).scalars().all() == ["Volvo"]
    registry.close()


@pytest.mark.parametrize(
    ("library", "module"), [("pymysql", "pymysql"), ("mysqlconnector", "mysql"), ("mysqldb", "MySQLdb")]
)
def test_session_is_known_by_its_id(cars: MySQLDatabase, library: str, module: str) -> None:
    """Whatever library connects: what it was told at login is what the server answers."""
    pytest.importorskip(module, reason=f"{module} is not installed")
    driver = SQLAlchemy()

    connection = driver.open(target_of(_url(cars, driver=library)), 5)

    assert driver.identity(connection) == driver.ask_identity(connection, 5) is not None
    driver.close(connection, 1)


def test_password_is_asked_at_each_open(cars: MySQLDatabase) -> None:
    """The engine is kept, the password is not."""
    driver, target = SQLAlchemy(), target_of(_url(cars))
    first = driver.open(target, 5)
    with pytest.raises(driver.errors, match="Access denied"):
        driver.open(target_of(_url(cars), password="changed"), 5)
    second = driver.open(target, 5)

    for connection in (first, second):
        assert isinstance(connection, Connection)
        driver.close(connection, 1)
