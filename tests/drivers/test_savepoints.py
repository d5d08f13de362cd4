"""What `taskconn.savepoint` does on a real server, over every row of `ROWS`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from taskconn import Handle, Registry, lease, savepoint
from taskconn.errors import SavepointError, SavepointLostError, TaintedConnectionError
from tests.drivers.rows import ROWS, Row

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

_SQL = [row for row in ROWS.values() if row.driver.transactional]
with_sql = pytest.mark.parametrize("row", _SQL, ids=lambda row: row.name)
with_mysql = pytest.mark.parametrize("row", [row for row in _SQL if row.family == "mysql"], ids=lambda row: row.name)


@pytest.fixture
def handle(row: Row, request: pytest.FixtureRequest) -> Iterator[Handle[Any]]:
    """Give an alias over an empty place with room to write."""
    registry = Registry()
    alias = registry.add("default", row.url(request))
    with lease(alias) as db:
        row.prepare(db)
    yield alias
    registry.close()


def _values(row: Row, handle: Handle[Any]) -> list[str]:
    with lease(handle) as db:
        return row.values(db)


@with_sql
def test_block_that_raises_is_undone_alone(row: Row, handle: Handle[Any]) -> None:
    """Blocks nest; one that raises is undone, and the others are committed with the lease."""
    with lease(handle) as db:
        row.write(db, "1 before")
        with savepoint(handle):
            row.write(db, "2 outer")
            with pytest.raises(ValueError, match="no"), savepoint(handle):
                row.write(db, "inner")
                raise ValueError("no")
            row.write(db, "3 outer")
        with pytest.raises(ValueError, match="no"), savepoint(handle):
            row.write(db, "undone")
            raise ValueError("no")
        row.write(db, "4 after")

    assert _values(row, handle) == ["1 before", "2 outer", "3 outer", "4 after"]


@with_sql
def test_end_of_a_block_commits_nothing(row: Row, handle: Handle[Any]) -> None:
    """A block that is the first thing in its lease, and ends, is rolled back with it."""
    with pytest.raises(ValueError, match="no"), lease(handle) as db:
        with savepoint(handle):
            row.write(db, "inside")
        raise ValueError("no")

    assert _values(row, handle) == []


@with_sql
def test_refused_statement_is_undone_with_its_block(row: Row, handle: Handle[Any]) -> None:
    """A statement that the server refuses leaves a transaction that goes on after the block, PostgreSQL's too."""
    errors = handle.registry.pool("default").driver.errors

    with lease(handle) as db:
        row.write(db, "before")
        with pytest.raises(errors, match=r"nothing|nowhere"), savepoint(handle):
            row.write(db, "inside")
            row.run(db, "SELECT nothing FROM nowhere")
        row.write(db, "later")

    assert _values(row, handle) == ["before", "later"]


@with_sql
def test_swallowed_refusal_undoes_the_block_or_nothing(row: Row, handle: Handle[Any]) -> None:
    """Where a swallowed error has spoilt the transaction the block's end raises it; the lease can go on after it."""
    errors = handle.registry.pool("default").driver.errors
    expected = ["before", "later"] if row.family == "postgresql" else ["before", "inside", "later"]

    with lease(handle) as db:
        row.write(db, "before")
        try:
            with savepoint(handle):
                row.write(db, "inside")
                with pytest.raises(errors, match=r"nothing|nowhere"):
                    row.run(db, "SELECT nothing FROM nowhere")
        except errors:
            assert row.family == "postgresql"
        row.write(db, "later")

    assert _values(row, handle) == expected


@with_mysql
@pytest.mark.parametrize("ending", ["returns", "raises"])
def test_implicit_commit_in_a_block_is_named(row: Row, handle: Handle[Any], ending: str) -> None:
    """DDL commits in MySQL, and the savepoint is gone: a named error, however the block ends."""
    with pytest.raises(SavepointLostError, match="does not exist"), lease(handle) as db, savepoint(handle):
        row.run(db, "CREATE TABLE bike (name VARCHAR(50))")
        if ending == "raises":
            raise ValueError("no")


@with_sql
def test_interrupt_in_a_block_costs_the_connection(row: Row, handle: Handle[Any]) -> None:
    """A limit that is swallowed outside of the block leaves nothing to be committed, and no connection."""
    with pytest.raises(TaintedConnectionError, match="KeyboardInterrupt"), lease(handle) as db:
        row.write(db, "before")
        with pytest.raises(KeyboardInterrupt, match="now"), savepoint(handle):
            row.write(db, "inside")
            raise KeyboardInterrupt("now")

    assert handle.registry.stats()["default"]["taints"] == 1
    assert _values(row, handle) == []


@pytest.mark.parametrize("row", [ROWS["redis"]], ids=["redis"])
def test_client_without_savepoints_is_refused(row: Row, handle: Handle[Any]) -> None:
    """Redis can undo nothing, and says so before the block's first command."""
    with lease(handle), pytest.raises(SavepointError, match="redis has no savepoints"), savepoint(handle):
        pytest.fail("the block was entered")
