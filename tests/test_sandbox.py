"""`testing.sandbox`: a test's tasks share one connection, and all of it is rolled back."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import taskconn
from taskconn import after_commit, testing
from taskconn._context import TaskContext
from taskconn.errors import (
    AcquireTimeoutError,
    InheritedConnectionError,
    InvalidSettingsError,
    ManualSettlementError,
    RollbackOnlyError,
)
from taskconn.testing import FakeDriver, FakeError, in_forked_child
from tests.support.core import Fake, fake, task

pytestmark = pytest.mark.portable


@pytest.fixture
def cars(tmp_path: Path) -> Iterator[taskconn.Handle[sqlite3.Connection]]:
    """Give a SQLite file with a table ``car``."""
    registry = taskconn.Registry()
    handle = registry.add("default", f"sqlite:///{tmp_path}/cars.db")
    with taskconn.lease(handle) as db:
        db.execute("CREATE TABLE car (name TEXT)")
    yield handle
    registry.close()


def insert(handle: taskconn.Handle[sqlite3.Connection], name: str) -> None:
    """Insert a car in a lease of its own."""
    with taskconn.lease(handle) as db:
        db.execute("INSERT INTO car VALUES (?)", (name,))


def names(handle: taskconn.Handle[sqlite3.Connection]) -> list[str]:
    """List the cars."""
    with taskconn.lease(handle) as db:
        return [name for (name,) in db.execute("SELECT name FROM car ORDER BY name")]


def test_sandbox_rolls_everything_back(cars: taskconn.Handle[sqlite3.Connection]) -> None:
    """Inside, leases see each other's work; at the end of the sandbox all of it is gone."""
    with testing.sandbox(cars) as db:
        insert(cars, "Tavria")
        db.execute("INSERT INTO car VALUES ('Volga')")
        assert names(cars) == ["Tavria", "Volga"]

    assert names(cars) == []


def test_lease_that_fails_in_a_sandbox_is_undone_alone(cars: taskconn.Handle[sqlite3.Connection]) -> None:
    """A task that fails inside takes back its own work, as it would outside, and nobody else's."""
    with testing.sandbox(cars):
        insert(cars, "Tavria")
        with pytest.raises(KeyError), taskconn.lease(cars) as db:
            db.execute("INSERT INTO car VALUES ('Volga')")
            raise KeyError
        insert(cars, "Zaporozhets")

        assert names(cars) == ["Tavria", "Zaporozhets"]


def test_nested_tasks_join_the_sandbox(cars: taskconn.Handle[sqlite3.Connection], tasks: list[TaskContext]) -> None:
    """Tasks, and tasks in tasks, share the sandbox's connection; one that fails is undone with all that it did."""
    with testing.sandbox(cars):
        with task(tasks), taskconn.lease(cars) as outer:
            outer.execute("INSERT INTO car VALUES ('outer')")
            with task(tasks):
                insert(cars, "nested")
            with pytest.raises(KeyError), task(tasks), taskconn.lease(cars) as inner:
                assert inner is outer
                inner.execute("INSERT INTO car VALUES ('failed')")
                raise KeyError
        assert names(cars) == ["nested", "outer"]
        with pytest.raises(KeyError), task(tasks), taskconn.lease(cars) as outer:
            outer.execute("INSERT INTO car VALUES ('failed')")
            with task(tasks):
                insert(cars, "nested in failed")
            raise KeyError

        assert names(cars) == ["nested", "outer"]


def test_callbacks_run_in_a_sandbox(tasks: list[TaskContext]) -> None:
    """`after_commit` runs when its outermost lease ends, though nothing is committed; a failure drops it."""
    app = fake()
    seen: list[int] = []

    with testing.sandbox(app.handle):
        with task(tasks), app.lease():
            with app.lease():
                after_commit(seen.append, 1)
            assert seen == []
        assert seen == [1]
        with pytest.raises(KeyError), app.lease():
            after_commit(seen.append, 2)
            raise KeyError

    assert seen == [1]


def test_joined_lease_that_fails_in_a_sandbox_is_as_ever() -> None:
    """What a lease swallows of one joined to it leaves it nothing to commit, in a sandbox too."""
    app = fake()

    with testing.sandbox(app.handle), pytest.raises(RollbackOnlyError, match="Let the error pass"), app.lease():
        with pytest.raises(KeyError), app.lease():
            raise KeyError


@pytest.mark.parametrize("verb", ["commit", "rollback", "close"])
def test_sandbox_is_not_settled_by_hand(verb: str) -> None:
    """Settling by hand would make the sandbox's work last, or end it: it raises, in leases and by proxy."""
    app = fake()
    conn = taskconn.proxy(app.handle)

    with testing.sandbox(app.handle) as db:
        with app.lease() as leased, pytest.raises(ManualSettlementError, match="rolls everything back at its end"):
            getattr(leased, verb)()
        with pytest.raises(ManualSettlementError, match="rolls everything back at its end"):
            getattr(conn, verb)()
        assert conn.number == db.number

    assert (db.calls[-1], db.committed) == ("rollback", [])
    db.commit()


def test_sandbox_is_for_one_thread() -> None:
    """Another thread would share the connection: it is refused, and told who holds it."""
    app = fake(max_size=1)
    refused: list[str] = []

    def lease() -> None:
        with pytest.raises(AcquireTimeoutError, match="a sandbox") as caught:
            app.lease().begin(None)
        refused.append(caught.value.holders)

    with testing.sandbox(app.handle):
        thread = threading.Thread(target=lease)
        thread.start()
        thread.join()

    assert len(refused) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_sandbox_is_not_a_childs() -> None:
    """A child forked inside a sandbox would speak on its connection: it is refused."""
    app = fake()

    def child() -> None:
        with app.lease():
            pass

    with testing.sandbox(app.handle) as db:
        with pytest.raises(InheritedConnectionError, match="Lease it where it is used"):
            in_forked_child(child)
        db.execute("INSERT")

    assert db.calls[-1] == "rollback"


def test_interrupted_lease_takes_the_sandbox_with_it() -> None:
    """A connection that was interrupted in a statement is dropped; what was done in the sandbox is gone with it."""
    app = fake()

    with testing.sandbox(app.handle) as db:
        with pytest.raises(KeyboardInterrupt), app.lease():
            db.taskconn_session.interrupt = "KeyboardInterrupt"
            raise KeyboardInterrupt
        with pytest.raises(FakeError, match="closed"):
            app.lease().begin(None)
    with app.lease() as other:
        other.execute("INSERT")

    assert other is not db
    assert app.stats()["open"] == 1


class Untransactional(FakeDriver):
    """A client without transactions."""

    transactional = False


@pytest.mark.parametrize(
    "app", [Fake(Untransactional()), fake(transaction="none")], ids=["no transactions", "settled by the task"]
)
def test_sandbox_refuses_what_it_can_not_roll_back(app: Fake) -> None:
    """Where nothing could be rolled back there is no sandbox; the message says what to use instead."""
    with pytest.raises(InvalidSettingsError, match=r"taskconn\.testing\.override"), testing.sandbox(app.handle):
        pass

    assert app.opened == []


def test_sandbox_leaves_its_alias_as_it_was() -> None:
    """After a sandbox that failed, and one that did not, leases commit again, by the same connection."""
    app = fake()

    with pytest.raises(KeyError), testing.sandbox(app.handle):
        raise KeyError
    with testing.sandbox(app.handle):
        pass
    with app.lease() as db:
        db.execute("INSERT")

    assert app.opened == [db]
    assert db.committed == ["INSERT"]
    assert app.stats()["leased"] == 0
