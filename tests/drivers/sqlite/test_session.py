"""SQLite: what of a session is put back between two tasks."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from taskconn import Registry
from taskconn._lease import Lease
from taskconn.drivers.sqlite import Connection
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options
from tests.drivers.sqlite.client import driver, target_at

pytestmark = pytest.mark.portable


@pytest.mark.parametrize(
    ("database", "query"), [(":memory:", {}), ("cars", {"mode": "memory"})], ids=["by name", "by mode"]
)
def test_reset_of_a_database_in_memory_is_refused(database: str, query: dict[str, str]) -> None:
    """A reset closes the connection, and the tables would be gone with it."""
    target = target_at(database, query=query, options=Options(reset=True))

    with pytest.raises(InvalidSettingsError, match=r"reset=True closes the connection"):
        driver.validate(target)
    driver.validate(target_at(database, query=query))


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


def test_what_a_task_sets_on_the_connection_is_put_back(db: Connection) -> None:
    """Row factory, text factory and isolation level are the next task's own affair."""
    db.row_factory = sqlite3.Row
    db.text_factory = bytes
    db.isolation_level = "EXCLUSIVE"

    driver.restore(db)

    assert (db.row_factory, db.text_factory, db.isolation_level) == (None, str, "")
