"""The ledger's statements on real servers, over every row of `ROWS`, whatever a task does to its cursors."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg.rows
import pymysql.cursors
import pytest

from taskconn import Handle, Registry, _ledger
from taskconn._lease import Lease
from taskconn._ledger import Entry
from taskconn.errors import LedgerMissingError
from tests.drivers.rows import ROWS, Row

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

with_sql = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.driver.transactional], ids=lambda row: row.name
)
ENTRY = Entry("shop.order", "a")
RESULT = json.dumps({"ü": [1, "it's 100%\\"]})


@pytest.fixture
def handle(row: Row, request: pytest.FixtureRequest) -> Iterator[Handle[Any]]:
    """Give an alias over an empty database."""
    registry = Registry()
    yield registry.add("default", row.url(request))
    registry.close()


@pytest.fixture
def made(handle: Handle[Any]) -> Handle[Any]:
    """Give an alias whose database has the table."""
    transact(handle, lambda driver, db: _ledger.create(driver, db, "default"))
    return handle


def transact(handle: Handle[Any], do: Callable[[Any, Any], Any]) -> Any:
    """Call *do* with the driver and its connection, in a transaction of its own."""
    lease = Lease(handle, "test")
    with lease:
        return do(handle.registry.pool("default").driver, lease._pooled.connection)


def claim(driver: Any, db: Any) -> tuple[str | None, int]:
    """Claim the entry."""
    return _ledger.claim(driver, db, "default", ENTRY)


@with_sql
def test_entry_is_found_with_its_result(made: Handle[Any]) -> None:
    """The first claim is told so; the next ones get what was returned, and are counted. A table is made once."""

    def first(driver: Any, db: Any) -> bool:
        assert claim(driver, db) == (None, 0)
        return _ledger.keep(driver, db, ENTRY, RESULT)

    assert transact(made, first)
    transact(made, lambda driver, db: _ledger.create(driver, db, "default"))

    assert [transact(made, claim) for _ in range(2)] == [
        (RESULT, 1),
        (RESULT, 2),
    ]


@with_sql
def test_entry_of_a_rolled_back_transaction_is_gone(made: Handle[Any]) -> None:
    """Entry and work are one transaction: what is rolled back was never done."""

    def fail(driver: Any, db: Any) -> None:
        claim(driver, db)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        transact(made, fail)

    assert transact(made, claim) == (None, 0)


@with_sql
@pytest.mark.parametrize("ending", ["commits", "rolls-back"])
def test_second_claim_waits_for_the_first_transaction(made: Handle[Any], ending: str) -> None:
    """Of two transactions the second waits: then it finds the result, or is the first if that was rolled back."""
    found: list[Any] = []
    asking = threading.Event()

    def second() -> None:
        asking.set()
        found.append(transact(made, claim))

    def first(driver: Any, db: Any) -> None:
        claim(driver, db)
        thread.start()
        asking.wait(30)
        time.sleep(0.1)  # the other one asks the server; that it waits there shows in nothing that every server tells
        assert found == []
        _ledger.keep(driver, db, ENTRY, "5")
        if ending == "rolls-back":
            raise ValueError("no")

    thread = threading.Thread(target=second)
    try:
        transact(made, first)
    except ValueError:
        assert ending == "rolls-back"
    thread.join(30)

    assert found == [("5", 1) if ending == "commits" else (None, 0)]


@with_sql
def test_missing_table_is_named_with_its_statement(row: Row, handle: Handle[Any]) -> None:
    """Without the table the error has the command and the statement to be run, in the database's own SQL."""
    statement = "ENGINE=InnoDB" if row.family == "mysql" else "CREATE INDEX IF NOT EXISTS"

    for ask in (claim, lambda driver, db: _ledger.prune(driver, db, "default", 0, 1)):
        with pytest.raises(LedgerMissingError, match="taskconn ledger create --alias default") as raised:
            transact(handle, ask)
        assert statement in raised.value.ddl


@with_sql
def test_prune_deletes_the_oldest_first(row: Row, made: Handle[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries older than a time go, so many at a time; the others stay."""
    for number, at in enumerate((400.0, 100.0, 300.0, 200.0)):
        monkeypatch.setattr(_ledger.time, "time", lambda at=at: at)
        transact(made, lambda driver, db, n=number: _ledger.claim(driver, db, "default", Entry("f", str(n))))

    deleted = [transact(made, lambda driver, db: _ledger.prune(driver, db, "default", 350, 2)) for _ in range(3)]

    assert deleted == [2, 1, 0]
    left = transact(made, lambda driver, db: driver.run(db, "SELECT written_at FROM taskconn_ledger"))
    assert left == ([(400,)], left[1])


@pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.driver.transactional and row.has_server], ids=lambda row: row.name
)
def test_first_delivery_costs_two_statements(made: Handle[Any]) -> None:
    """One statement claims, and says that it is the first; one keeps the result."""

    def first(driver: Any, db: Any) -> int:
        claim(driver, db)
        _ledger.keep(driver, db, ENTRY, "null")
        return int(driver.session(db).sent)

    assert transact(made, first) == 2


def _dictionaries(db: Any) -> None:
    db.cursorclass = pymysql.cursors.DictCursor


def _unbuffered(db: Any) -> None:
    db.cursorclass = pymysql.cursors.SSDictCursor


def _psycopg_dictionaries(db: Any) -> None:
    db.row_factory = psycopg.rows.dict_row


def _psycopg_objects(db: Any) -> None:
    db.row_factory = psycopg.rows.class_row(dict)


def _sqlite_strings(db: Any) -> None:
    db.row_factory = lambda _cursor, row: "-".join(map(str, row))


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (ROWS["pymysql"], _dictionaries),
        (ROWS["pymysql"], _unbuffered),
        (ROWS["psycopg"], _psycopg_dictionaries),
        (ROWS["psycopg"], _psycopg_objects),
        (ROWS["sqlite"], _sqlite_strings),
    ],
    ids=["dict", "unbuffered", "dict-row", "class-row", "string-row"],
)
def test_rows_of_the_tasks_own_make_do(made: Handle[Any], change: Callable[[Any], None]) -> None:
    """What a task makes of rows is not asked of the ledger's."""

    def both(driver: Any, db: Any) -> Any:
        change(db)
        return claim(driver, db), _ledger.keep(driver, db, ENTRY, "null"), claim(driver, db)

    assert transact(made, both) == ((None, 0), True, ("null", 1))
