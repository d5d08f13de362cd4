"""psycopg 3: streams half read, and blocks left open."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from taskconn.drivers.psycopg import Connection
from tests.drivers.psycopg.client import driver


def test_half_read_stream_costs_the_connection_not_the_commit(db: Connection) -> None:
    """Who still holds the rows could cancel the next task's query, so the connection goes after the commit."""
    db.execute("INSERT INTO car VALUES ('Volvo')")
    rows = db.cursor().stream("SELECT generate_series(1, 1000)")
    next(rows)
    assert driver.has_pending_reply(db)

    driver.commit(db, 5)

    assert not driver.is_open(db)
    rows.close()


@pytest.mark.parametrize("what", ["copy", "pipeline", "transaction"])
def test_block_that_was_left_open_is_not_committed(db: Connection, what: str) -> None:
    """A COPY, a pipeline or a transaction block that nobody ended is no finished work."""
    db.execute("INSERT INTO car VALUES ('Volvo')")
    blocks = {
        "copy": lambda: db.cursor().copy("COPY car FROM STDIN"),
        "pipeline": db.pipeline,
        "transaction": db.transaction,
    }
    block = blocks[what]()
    block.__enter__()
    assert driver.has_pending_reply(db)

    with pytest.raises(psycopg.Error, match="was left open; COMMIT was not sent"):
        driver.commit(db, 5)

    assert not driver.session(db).pending
    driver.invalidate(db)
    with contextlib.suppress(psycopg.Error):
        block.__exit__(psycopg.Error, psycopg.OperationalError(), None)
