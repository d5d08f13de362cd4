"""psycopg2: cursors of every class, and COPY."""

from __future__ import annotations

import io
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import extensions as ext

from taskconn.drivers.psycopg2 import Connection
from taskconn.errors import TaintedConnectionError
from tests.drivers.psycopg2.client import driver
from tests.support.limits import SoftTimeLimitExceeded


@pytest.mark.parametrize("factory", ["DictCursor", "RealDictCursor", "NamedTupleCursor", "LoggingCursor"])
@pytest.mark.parametrize("name", [None, "lives_at_the_server"])
def test_every_cursor_class_is_guarded(db: Connection, factory: str, name: str | None) -> None:
    """Whatever class the task asks for counts statements, and refuses after an interrupt."""
    found = getattr(psycopg2.extras, factory)
    if factory == "LoggingCursor":
        found = type("Own", (ext.cursor,), {})
    cursor = db.cursor(name, cursor_factory=found)
    cursor.execute("SELECT g AS id FROM generate_series(1, 3) g")
    rows = list(cursor)
    cursor.close()

    assert isinstance(cursor, found)
    assert [row["id"] if "Dict" in factory else row[0] for row in rows] == [1, 2, 3]
    assert db.session.sent >= 1
    db.session.interrupt = "SoftTimeLimitExceeded"
    for call in (lambda: db.cursor(cursor_factory=found), lambda: cursor.execute("SELECT 1")):
        with pytest.raises(TaintedConnectionError, match="end the task"):
            call()


def test_cursor_that_is_no_class_counts_too(db: Connection) -> None:
    """Where a function makes the cursors, a statement is presumed."""
    cursor = db.cursor(cursor_factory=lambda connection, name: ext.cursor(connection, name))  # noqa: PLW0108 -- a function

    assert type(cursor) is ext.cursor
    assert db.session.sent == 1


def test_ways_around_execute_are_counted(db: Connection) -> None:
    """COPY, many rows at once and functions of the server are statements as well."""
    cursor = db.cursor()
    cursor.copy_from(io.StringIO("1\tVolvo\n"), "car")
    cursor.copy_expert("COPY car TO STDOUT", io.StringIO())
    cursor.executemany("INSERT INTO car VALUES (%s, 'Lada')", [(2,), (3,)])
    psycopg2.extras.execute_values(cursor, "INSERT INTO car VALUES %s", [(4, "Saab")])
    cursor.callproc("pg_backend_pid")

    assert db.session.sent == 5
    driver.commit(db, 5)
    assert db.session.sent == 5
    assert driver.is_settled(db)


@pytest.mark.parametrize("end", [SoftTimeLimitExceeded, KeyboardInterrupt])
@pytest.mark.parametrize("way", ["copy_from", "copy_to"])
def test_interrupt_in_a_copy_gives_no_wrong_answer(db: Connection, end: type[BaseException], way: str) -> None:
    """A file that raises in the middle of a COPY leaves a connection that is right, or refused."""

    class Struck(io.StringIO):
        def read(self, *_: Any) -> str:
            raise end

        def write(self, *_: Any) -> int:
            raise end

    cursor = db.cursor()
    cursor.execute("INSERT INTO car SELECT g, 'Volvo' FROM generate_series(1, 100000) g")
    with pytest.raises((end, psycopg2.Error)):
        getattr(cursor, way)(Struck(), "car")

    if driver.has_pending_reply(db) or db.session.interrupt:
        return
    driver.rollback(db, 5)
    cursor.execute("SELECT 42")
    assert cursor.fetchall() == [(42,)]
