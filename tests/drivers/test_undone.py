"""A server that rolls back by itself, and goes on: what a task sends after that is not committed alone."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import taskconn
from examples.servers import MariaDB
from taskconn import Registry
from tests.drivers.rows import Row
from tests.drivers.tills import PATIENCE_S, Till, for_rows
from tests.matrix.rows import ROWS
from tests.support.databases import fresh_mysql_database


@for_rows(lambda row: row.family == "postgresql")
def test_statement_that_failed_and_was_swallowed_is_not_taken_for_committed(row: Row, till: Till) -> None:
    """PostgreSQL answers such a COMMIT by ROLLBACK, and no library raises for it."""
    with till.refusing("its error was swallowed"), till.lease() as db:
        row.write(db, "first")
        with pytest.raises((*row.errors, *till.errors), match="division by zero"):
            row.run(db, "SELECT 1/0")

    assert till.holds()


@pytest.fixture
def fall_victim(row: Row, database: Any) -> Iterator[Callable[[Any], None]]:
    """Give a function that has a connection's transaction end by a deadlock."""
    database.query("CREATE TABLE account (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
    database.query("INSERT INTO account SELECT seq, 0 FROM seq_1_to_500")
    others: list[Any] = []

    def fall(db: Any) -> None:
        row.run(db, "UPDATE account SET n = 1 WHERE id = 1")
        other = database.connect()
        cursor = other.cursor()
        cursor.execute("UPDATE account SET n = 2 WHERE id > 1")  # InnoDB ends the one that has changed less
        waiting = threading.Thread(target=cursor.execute, args=("UPDATE account SET n = 2 WHERE id = 1",))
        others.append((waiting, other))
        waiting.start()
        deadline = time.monotonic() + PATIENCE_S
        while not database.query("SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"):
            assert time.monotonic() < deadline
        row.run(db, "UPDATE account SET n = 1 WHERE id = 2")

    yield fall
    for waiting, other in others:
        waiting.join(PATIENCE_S)
        other.close()


@for_rows(lambda row: row.family == "mysql" and not row.is_bare)
def test_deadlock_that_was_swallowed_does_not_have_the_rest_committed(
    row: Row, till: Till, fall_victim: Callable[[Any], None]
) -> None:
    """InnoDB has rolled back all that was before it, and would commit what came after it."""
    with till.refusing("1213"), till.lease() as db:
        row.write(db, "first")
        with pytest.raises(till.errors, match="Deadlock"):
            fall_victim(db)
        row.write(db, "second")

    found, till.done = till.values(), [*till.done]
    with till.lease() as db:
        row.write(db, "third")
    assert (found, till.values(), till.done) == ([], ["third"], ["receipt"])


@for_rows(lambda row: row.family == "mysql" and not row.is_bare)
def test_task_that_rolls_back_after_a_deadlock_may_begin_again(
    row: Row, till: Till, fall_victim: Callable[[Any], None]
) -> None:
    """What is sent after the task's own rollback is whole."""
    with till.lease() as db:
        row.write(db, "first")
        with pytest.raises(till.errors, match="Deadlock"):
            fall_victim(db)
        db.rollback()
        row.write(db, "again")

    assert (till.values(), till.done) == (["again"], ["receipt"])


@pytest.fixture(scope="module")
def strict_server() -> Iterator[MariaDB]:
    """Give a server that rolls back the whole transaction when a lock was waited for too long."""
    with MariaDB(options=["--innodb-rollback-on-timeout=ON"]) as server:
        yield server


@pytest.mark.parametrize("is_strict", [True, False], ids=["all is undone", "one is undone"])
@for_rows(lambda row: row.family == "mysql" and not row.is_bare)
def test_lock_that_was_waited_for_too_long_undoes_what_the_server_says(
    row: Row, request: pytest.FixtureRequest, is_strict: bool
) -> None:
    """A setting of the server's decides whether a statement is rolled back or all before it; it is asked for."""
    server = request.getfixturevalue("strict_server" if is_strict else "mariadb")
    with fresh_mysql_database(server) as database:
        till = Till(row, database)
        database.query("CREATE TABLE account (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
        database.query("INSERT INTO account VALUES (1, 0)")
        with contextlib.closing(database.connect()) as other:
            other.cursor().execute("UPDATE account SET n = 1")

            with till.refusing("1205") if is_strict else contextlib.nullcontext(), till.lease() as db:
                row.run(db, "SET innodb_lock_wait_timeout = 0")
                row.write(db, "first")
                with pytest.raises(till.errors, match="1205"):
                    row.run(db, "UPDATE account SET n = 2")
                row.write(db, "second")

        assert till.values() == ([] if is_strict else ["first", "second"])
        till.handle.registry.close()


def _fill_up(row: Row, db: Any) -> None:
    ((pages,),) = row.run(db, "PRAGMA page_count")
    row.run(db, f"PRAGMA max_page_count = {pages + 1}")
    row.run(db, "INSERT INTO car VALUES (zeroblob(1000000))")


def _collide(row: Row, db: Any) -> None:
    row.run(db, "INSERT OR ROLLBACK INTO car VALUES ('first')")


def _interrupt(row: Row, db: Any) -> None:
    client = row.client(db)
    end = threading.Timer(0.1, lambda: sqlite3.Connection.interrupt(client))
    end.start()
    row.run(db, "INSERT INTO car WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")


@pytest.mark.parametrize("undo", [_fill_up, _collide, _interrupt], ids=["full", "conflict", "interrupt"])
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS.values() if row.family == "sqlite"])
def test_sqlite_that_has_rolled_back_by_itself_does_not_have_the_rest_committed(
    row: Row, tmp_path: Path, undo: Callable[[Row, Any], None]
) -> None:
    """Some errors end the transaction, and the library begins another one with the next statement."""
    handle = Registry().add("till", f"{row.scheme}:///{tmp_path}/cars.db")
    with taskconn.lease(handle) as db:
        row.prepare(db)
        row.run(db, "CREATE UNIQUE INDEX one ON car (name)")
    errors = handle.registry.pool("till").driver.errors

    with pytest.raises(errors, match="rolled back; COMMIT was not sent"), taskconn.lease(handle) as db:
        row.write(db, "first")
        with pytest.raises(errors, match=r"full|UNIQUE|interrupted"):
            undo(row, db)
        row.write(db, "second")

    with taskconn.lease(handle) as db:
        assert row.values(db) == []
    handle.registry.close()
