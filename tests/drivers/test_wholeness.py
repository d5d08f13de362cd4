"""What the server has lost of a transaction, and what became of it: all of it is committed, or nothing is."""

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
from taskconn import Registry
from taskconn.driver import Peek
from taskconn.errors import CommitOutcomeUnknownError
from tests.drivers.rows import Row
from tests.matrix.rows import ROWS
from tests.support.wire import Wire

#: Longest wait for what is a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0
#: The alias's `settle_timeout` where an answer never comes whole, and what only a hang reaches, in seconds.
_SETTLE_S, _HANG_S = 0.3, 10.0

_COMMITS = {"mysql": b"\x03COMMIT", "postgresql": b"COMMIT"}

_SERVED = [row for row in ROWS.values() if row.family in _COMMITS]


def _rows(chosen: Callable[[Row], bool]) -> Any:
    """Run a test for each of those rows."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in _SERVED if chosen(row)])


class Till:
    """An alias of a row's kind, and what it has done."""

    def __init__(self, row: Row, database: Any, proxy: Wire | None = None) -> None:
        self.row, self.database = row, database
        url = f"{row.scheme}://{database.url.partition('://')[2]}"
        if proxy is not None:
            server = database.server
            url = url.replace(f"{server.host}:{server.port}/", f"{proxy.host}:{proxy.port}/")
        options = {"settle_timeout": _SETTLE_S} if proxy is not None else {}
        self.handle = Registry().add("till", {"url": url, **row.options, **options})
        self.done: list[str] = []
        with taskconn.lease(self.handle) as db:
            row.prepare(db)

    @contextlib.contextmanager
    def lease(self) -> Iterator[Any]:
        """Take a lease, and note it if it says that it was committed."""
        with taskconn.lease(self.handle) as db:
            taskconn.after_commit(self.done.append, "receipt")
            yield db

    @contextlib.contextmanager
    def refusing(self, words: str = ".") -> Iterator[None]:
        """Expect that the lease ends in the driver's error, and no unknown outcome."""
        with pytest.raises(self.errors, match=words) as caught:
            yield
        assert not isinstance(caught.value, CommitOutcomeUnknownError)

    @property
    def errors(self) -> Any:
        """The driver's errors."""
        return self.handle.registry.pool("till").driver.errors

    def kill(self, db: Any) -> None:
        """End the session of *db* at the server."""
        self.database.server.kill_session(int(self.row.session_id(db)))

    def values(self) -> list[str]:
        """List what was committed."""
        return [name for (name,) in self.database.query("SELECT name FROM car ORDER BY name")]

    def holds(self) -> bool:
        """Is nothing committed, and does the next lease work?"""
        found = self.values()
        with self.lease() as db:
            self.row.write(db, "next")
        is_sound = (found, self.values(), self.done) == ([], ["next"], ["receipt"])
        self.handle.registry.close()
        return is_sound and self._is_left()

    def _is_left(self) -> bool:
        deadline = time.monotonic() + _PATIENCE_S
        while self.database.sessions() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.database.sessions()


@pytest.fixture
def database(row: Row, request: pytest.FixtureRequest) -> Any:
    """Give a database of the row's kind."""
    return request.getfixturevalue(f"{row.family}_database")


@pytest.fixture
def till(row: Row, database: Any) -> Till:
    """Give an alias of it."""
    return Till(row, database)


@_rows(lambda _: True)
@pytest.mark.parametrize("is_seen", [True, False], ids=["swallowed", "unseen"])
def test_session_that_was_lost_before_the_commit_has_committed_nothing(row: Row, till: Till, is_seen: bool) -> None:
    """A task that swallows what its lost connection says, or does not ask any more, gets the driver's error."""
    with till.refusing(), till.lease() as db:
        row.write(db, "first")
        till.kill(db)
        if is_seen:
            with pytest.raises((*row.errors, *till.errors)):
                row.write(db, "second")
        else:
            pool = till.handle.registry.pool("till")
            (member,) = pool.members()
            deadline = time.monotonic() + _PATIENCE_S
            while pool.driver.peek(member.connection) is Peek.QUIET and time.monotonic() < deadline:
                time.sleep(0.01)

    assert till.holds()


@_rows(lambda _: True)
def test_answer_of_a_commit_that_never_comes_whole_is_not_waited_for(
    row: Row, database: Any, wire: Callable[..., Wire]
) -> None:
    """Half of it has come: the rest is waited for until `settle_timeout`, and the outcome is unknown."""
    proxy = wire(database.server)
    till = Till(row, database, proxy)
    end = threading.Timer(_HANG_S, proxy.cut)
    end.start()

    began = time.monotonic()
    with pytest.raises(CommitOutcomeUnknownError), till.lease() as db:
        row.write(db, "first")
        proxy.hold_answer_to(_COMMITS[row.family], halves=True)
    took_s = time.monotonic() - began
    end.cancel()
    proxy.release_answers()

    assert took_s < _HANG_S / 2
    assert (till.values(), till.done) == (["first"], [])
    assert till.handle.registry.pool("till").stats()["open"] == 0


# -- a library that connects anew ------------------------------------------------------------------------------


def _ping(client: Any) -> None:
    client.ping(reconnect=True)


def _connect(client: Any) -> None:
    client.connect()


@_rows(lambda row: row.family == "mysql" and "mysqldb" not in row.name)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyMySQL leaves its old socket open
@pytest.mark.filterwarnings("ignore:The 'reconnect' argument:DeprecationWarning")  # of PyMySQL since 1.2
@pytest.mark.parametrize("again", [_ping, _connect], ids=["ping", "connect"])
def test_library_that_connects_anew_does_not_have_the_second_half_committed(
    row: Row, till: Till, again: Callable[[Any], None]
) -> None:
    """Another session has nothing of what the lost one had begun: it is kept from it, or nothing is committed."""
    with till.refusing(), till.lease() as db:
        row.write(db, "first")
        till.kill(db)
        client = db.connection().connection.dbapi_connection if hasattr(db, "connection") else db
        with contextlib.suppress(*row.errors, *till.errors):
            again(client)
        with contextlib.suppress(*row.errors, *till.errors):
            row.write(db, "second")

    assert till.holds()


# -- a server that rolls back, and goes on ---------------------------------------------------------------------


@_rows(lambda row: row.family == "postgresql")
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
        deadline = time.monotonic() + _PATIENCE_S
        while not database.query("SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"):
            assert time.monotonic() < deadline
        row.run(db, "UPDATE account SET n = 1 WHERE id = 2")

    yield fall
    for waiting, other in others:
        waiting.join(_PATIENCE_S)
        other.close()


@_rows(lambda row: row.family == "mysql" and not row.is_bare)
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


@_rows(lambda row: row.family == "mysql" and not row.is_bare)
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
