"""What is particular to SQLite: the write-ahead log, cursors that are half read, journals and forks, its arguments."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskconn import Registry
from taskconn._lease import Lease
from taskconn.driver import Target
from taskconn.drivers.sqlite import Connection, Cursor, SQLite
from taskconn.errors import InvalidSettingsError, ManualSettlementError
from taskconn.options import Options
from tests.drivers.rows import target_of
from tests.support.process import Script

pytestmark = pytest.mark.portable

driver = SQLite()


def _target(path: Path | str, **changes: Any) -> Target:
    return Target("default", "sqlite", database=str(path), **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file that is not there."""
    return tmp_path / "cars.db"


@pytest.fixture
def db(path: Path) -> Iterator[Connection]:
    """Give a connection to a file with the table `car`."""
    connection = driver.open(_target(path), 5)
    connection.execute("CREATE TABLE car (name TEXT)")
    driver.session(connection).sent = 0
    yield connection
    driver.close(connection, 1)


def _rows(path: Path) -> list[tuple[Any, ...]]:
    """Read as somebody else would."""
    other = sqlite3.connect(path)
    try:
        return other.execute("SELECT name FROM car ORDER BY name").fetchall()
    finally:
        other.close()


# -- opening ---------------------------------------------------------------------------------------------


def test_defaults_are_write_ahead_log_and_busy_timeout(db: Connection) -> None:
    """Readers do not wait for writers, and writers wait for each other, as long as the module has it."""
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    assert db.isolation_level == ""


def test_settings_of_the_url_are_taken(path: Path) -> None:
    """Arguments of the module and a small set of PRAGMAs go into the URL by their own names."""
    url = "sqlite:////x?journal_mode=DELETE&timeout=0.25&foreign_keys=on&isolation_level=IMMEDIATE"
    db = driver.open(target_of(url, database=str(path)), 5)

    assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (250,)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert db.isolation_level == "IMMEDIATE"
    driver.close(db, 1)


@pytest.mark.parametrize(("name", "text"), [("journal_mode", "WAL; DROP TABLE car"), ("isolation_level", "FULL")])
def test_value_that_is_none_is_refused(path: Path, name: str, text: str) -> None:
    """A PRAGMA takes one word, and an isolation level is one of three."""
    with pytest.raises(InvalidSettingsError, match="Mend the value"):
        driver.validate(_target(path, query={name: text}))


def test_isolation_level_none_needs_transaction_none(path: Path) -> None:
    """Where the lease is to roll back, a connection without transactions is refused."""
    target = _target(path, query={"isolation_level": "None"})
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target)

    driver.validate(_target(path, query={"isolation_level": "None"}, options=Options(transaction="none")))


def test_url_without_a_file_is_refused() -> None:
    """A file without a name would be a database that nobody finds again."""
    with pytest.raises(InvalidSettingsError, match=r"sqlite:///relative\.db"):
        driver.validate(_target(""))


@pytest.mark.parametrize(
    ("database", "query"), [(":memory:", {}), ("cars", {"mode": "memory"})], ids=["by name", "by mode"]
)
def test_reset_of_a_database_in_memory_is_refused(database: str, query: dict[str, str]) -> None:
    """A reset closes the connection, and the tables would be gone with it."""
    target = _target(database, query=query, options=Options(reset=True))

    with pytest.raises(InvalidSettingsError, match=r"reset=True closes the connection"):
        driver.validate(target)
    driver.validate(_target(database, query=query))


def test_reset_clears_the_session(path: Path) -> None:
    """Whatever a task set, attached or made for itself, the next one does not see; what it committed, it does."""
    registry = Registry()
    handle = registry.add("orders", f"sqlite:///{path}", reset=True)
    with Lease(handle, "a test") as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("ATTACH ':memory:' AS other")
        db.create_function("double", 1, lambda number: 2 * number)
        db.execute("CREATE TEMPORARY TABLE mine (n INT)")
        db.execute("CREATE TABLE car (name TEXT)")

    with Lease(handle, "a test") as db:
        assert db.execute("PRAGMA foreign_keys").fetchall() == [(0,)]
        assert [name for _, name, _ in db.execute("PRAGMA database_list")] == ["main"]
        assert db.execute("SELECT name FROM sqlite_master UNION SELECT name FROM temp.sqlite_master").fetchall() == [
            ("car",)
        ]
        with pytest.raises(sqlite3.OperationalError, match="no such function"):
            db.execute("SELECT double(1)")
    registry.close()


def test_missing_folder_is_the_modules_error(tmp_path: Path) -> None:
    """SQLite makes files, not folders."""
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        driver.open(_target(tmp_path / "nowhere" / "cars.db"), 5)


def test_memory_is_private_and_has_no_file() -> None:
    """Every connection to ``:memory:`` has a database of its own, which shares nothing that a fork could harm."""
    one, other = driver.open(_target(":memory:"), 5), driver.open(_target(":memory:"), 5)

    one.execute("CREATE TABLE car (name TEXT)")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        other.execute("SELECT * FROM car")
    assert driver.resource(_target(":memory:")) is None
    driver.close(one, 1)
    driver.close(other, 1)


def test_file_is_the_same_by_every_name(path: Path, tmp_path: Path) -> None:
    """What aliases share in a process is the file, through links too."""
    path.touch()
    (tmp_path / "link.db").symlink_to(path)

    assert driver.resource(_target(tmp_path / "link.db")) == driver.resource(_target(path)) == str(path.resolve())


def test_path_with_every_sign_is_one_file(tmp_path: Path) -> None:
    """Signs that mean something in an URI mean nothing in a file's name."""
    path = tmp_path / "a b?c#d%20&e.db"

    driver.close(driver.open(_target(path), 5), 1)

    assert path.exists()


def test_read_only_file_is_opened_as_it_is(db: Connection, path: Path) -> None:
    """``mode=ro`` changes no journal mode, and refuses to write."""
    reader = driver.open(_target(path, query={"mode": "ro"}), 5)

    assert reader.execute("SELECT * FROM car").fetchall() == []
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO car VALUES ('Volvo')")
    driver.close(reader, 1)


_OPENING_AT_ONCE = """
import multiprocessing, sys
from taskconn.drivers.sqlite import SQLite
from tests.drivers.rows import target_of

def work(number):
    driver = SQLite()
    ready.wait()
    db = driver.open(target_of(sys.argv[1]), 10)
    db.execute("CREATE TABLE IF NOT EXISTS car (name TEXT)")
    db.execute("INSERT INTO car VALUES (?)", (number,))
    driver.commit(db, 5)
    driver.close(db, 1)

context = multiprocessing.get_context("fork")
ready = context.Barrier(10)
processes = [context.Process(target=work, args=(number,)) for number in range(10)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print([process.exitcode for process in processes])
"""


def test_ten_processes_may_open_a_new_file_at_once(path: Path, script: Callable[..., Script]) -> None:
    """SQLite does not wait for others when it switches to the write-ahead log; the driver does."""
    assert script(_OPENING_AT_ONCE, f"sqlite:///{path}").succeed() == f"{[0] * 10}\n"
    assert len(_rows(path)) == 10


# -- statements and cursors ------------------------------------------------------------------------------


def test_every_way_to_send_a_statement_is_counted(db: Connection) -> None:
    """The shortcuts of the connection, cursors, scripts, and cursors of the task's own class count."""
    db.execute("INSERT INTO car VALUES ('a')")
    db.executemany("INSERT INTO car VALUES (?)", [("b",), ("c",)])
    db.cursor().execute("SELECT 1")
    driver.commit(db, 1)
    db.executescript("SELECT 1; SELECT 2")
    sqlite3_cursor = db.cursor(sqlite3.Cursor)
    sqlite3_cursor.execute("SELECT 1")

    assert db.session.sent == 5


def test_cursor_works_as_the_modules_own(db: Connection) -> None:
    """Chaining, iterating, fetching in parts and counting rows are as in `sqlite3`."""
    cursor = db.cursor()
    assert isinstance(cursor, Cursor)
    assert cursor.execute("INSERT INTO car VALUES (?)", ("a",)).rowcount == 1
    assert cursor.executemany("INSERT INTO car VALUES (:n)", [{"n": "b"}, {"n": "c"}]).rowcount == 2

    cursor.execute("SELECT name FROM car ORDER BY name")
    assert next(cursor) == ("a",)
    assert cursor.fetchmany() == [("b",)]
    assert [*cursor] == [("c",)]
    assert [name for (name,) in db.execute("SELECT name FROM car ORDER BY name")] == ["a", "b", "c"]
    with db:
        db.execute("DELETE FROM car")
    assert not db.in_transaction


@pytest.mark.parametrize("settle", [driver.commit, driver.rollback], ids=["commit", "rollback"])
def test_half_read_cursor_does_not_outlive_the_lease(db: Connection, path: Path, settle: Callable[..., None]) -> None:
    """A cursor that was not read to its end holds an old snapshot; settling closes it, so the next task sees news."""
    db.executemany("INSERT INTO car VALUES (?)", [("a",), ("b",)])
    driver.commit(db, 1)
    cursor = db.execute("SELECT name FROM car")
    cursor.fetchone()
    assert not driver.is_settled(db)

    settle(db, 1)

    assert driver.is_settled(db)
    with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
        cursor.fetchone()
    other = sqlite3.connect(path)
    other.execute("INSERT INTO car VALUES ('c')")
    other.commit()
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0  # nobody reads
    other.close()


def test_cursor_read_to_its_end_holds_nothing(db: Connection) -> None:
    """A connection whose cursors have all ended is settled, whoever still keeps them."""
    cursors = [db.execute("SELECT 1") for _ in range(3)]
    assert not driver.is_settled(db)

    cursors[0].fetchall()
    assert cursors[1].fetchone() == (1,)
    assert cursors[1].fetchone() is None
    list(cursors[2])

    assert driver.is_settled(db)


def test_script_in_an_open_transaction_asks_first(db: Connection) -> None:
    """`executescript` commits what is open, so it asks like `commit()` does; with nothing open it need not."""

    def refuse(verb: str) -> None:
        raise ManualSettlementError("default", verb, "it is joined to an outer lease")

    db.session.refusal = refuse
    db.executescript("CREATE TABLE lorry (name TEXT)")
    db.execute("INSERT INTO car VALUES ('Volvo')")

    with pytest.raises(ManualSettlementError, match="Leave it to the outermost lease"):
        db.executescript("SELECT 1")
    db.session.refusal = None


def test_what_a_task_sets_on_the_connection_is_put_back(db: Connection) -> None:
    """Row factory, text factory and isolation level are the next task's own affair."""
    db.row_factory = sqlite3.Row
    db.text_factory = bytes
    db.isolation_level = "EXCLUSIVE"

    driver.restore(db)

    assert (db.row_factory, db.text_factory, db.isolation_level) == (None, str, "")


def test_connection_may_be_given_back_by_another_thread(db: Connection) -> None:
    """One task after the other may use it in threads of their own: the pool sees to one at a time."""
    thread = threading.Thread(target=db.execute, args=("INSERT INTO car VALUES ('Volvo')",))
    thread.start()
    thread.join()

    driver.commit(db, 1)

    assert db.execute("SELECT * FROM car").fetchall() == [("Volvo",)]


def test_commit_that_is_locked_out_can_be_rolled_back(path: Path) -> None:
    """A commit that SQLite refuses raises the module's error in time, and leaves a transaction to be rolled back."""
    db = driver.open(_target(path, query={"journal_mode": "DELETE", "timeout": "0.1"}), 5)
    db.execute("CREATE TABLE car (name TEXT)")
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM car").fetchall()
    db.execute("INSERT INTO car VALUES ('Volvo')")

    started = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        driver.commit(db, 5)
    assert time.monotonic() - started < 2
    assert not db.session.pending
    driver.rollback(db, 1)
    reader.close()

    assert _rows(path) == []
    driver.close(db, 1)


# -- forks -----------------------------------------------------------------------------------------------

_SPILLED = """
import gc, os, sys
from taskconn.drivers.sqlite import SQLite
from tests.drivers.rows import target_of

driver = SQLite()
db = driver.open(target_of(sys.argv[1]), 5)
db.execute("CREATE TABLE car (name TEXT)")
db.executemany("INSERT INTO car VALUES (?)", [("old" * 900,)] * 150)
driver.commit(db, 5)
db.execute("PRAGMA cache_size=5")
db.execute("UPDATE car SET name = 'new'")
cursor = db.execute("SELECT * FROM car")
if os.fork() == 0:
    if sys.argv[2] == "discarded":
        driver.discard(db)
    del db, cursor, driver
    gc.collect()
    sys.exit()
assert os.wait()[1] == 0
driver.commit(db, 5)
print(db.execute("SELECT COUNT(*) FROM car WHERE name = 'new'").fetchone()[0])
"""


@pytest.mark.parametrize("hook", ["discarded", "no hook"])
def test_childs_garbage_leaves_the_parents_journal(path: Path, script: Callable[..., Script], hook: str) -> None:
    """Collecting an inherited connection would delete the journal of half a transaction; it is never collected."""
    assert script(_SPILLED, f"sqlite:///{path}?journal_mode=DELETE", hook).succeed() == "150\n"
