"""SQLite: statements, cursors that are half read, threads, and locks."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from taskconn.drivers.sqlite import Connection, Cursor
from taskconn.errors import ManualSettlementError
from tests.drivers.sqlite.client import driver, rows, target_at
from tests.support.stopwatch import Stopwatch

pytestmark = pytest.mark.portable


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


def test_script_that_fails_has_undone_nothing(db: Connection, path: Path) -> None:
    """The module has committed what was open; what comes after the error is no half of it."""
    db.execute("INSERT INTO car VALUES ('Volvo')")
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        db.executescript("SELEKT 1")
    db.execute("INSERT INTO car VALUES ('Lada')")

    driver.commit(db, 1)

    assert rows(path) == [("Lada",), ("Volvo",)]


def test_connection_may_be_given_back_by_another_thread(db: Connection) -> None:
    """One task after the other may use it in threads of their own: the pool sees to one at a time."""
    thread = threading.Thread(target=db.execute, args=("INSERT INTO car VALUES ('Volvo')",))
    thread.start()
    thread.join()

    driver.commit(db, 1)

    assert db.execute("SELECT * FROM car").fetchall() == [("Volvo",)]


def test_commit_that_is_locked_out_can_be_rolled_back(path: Path) -> None:
    """A commit that SQLite refuses raises the module's error in time, and leaves a transaction to be rolled back."""
    db = driver.open(target_at(path, query={"journal_mode": "DELETE", "timeout": "0.1"}), 5)
    db.execute("CREATE TABLE car (name TEXT)")
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM car").fetchall()
    db.execute("INSERT INTO car VALUES ('Volvo')")

    watch = Stopwatch()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        driver.commit(db, 5)
    assert watch.seconds() < 2
    assert not db.session.pending
    driver.rollback(db, 1)
    reader.close()

    assert rows(path) == []
    driver.close(db, 1)
