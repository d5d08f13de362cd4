"""`once` in users' tests: overridden, in a sandbox, as a plain function."""

from __future__ import annotations

import sqlite3

import pytest

from taskconn import testing
from taskconn._context import TaskContext
from tests.once.deliveries import Handle, deliver, inserting, names
from tests.support.core import task

pytestmark = pytest.mark.portable


def test_overridden_alias_has_no_ledger(tasks: list[TaskContext], cars: Handle) -> None:
    """With a test's own object in the alias's place the function is called each time."""
    insert = inserting(cars)

    class Recorder:
        calls = 0

        def execute(self, *_: object) -> None:
            self.calls += 1

    with testing.override(cars, Recorder()) as recorder:
        for _ in range(2):
            deliver(tasks, insert, "Lada")

    assert recorder.calls == 2


def test_sandbox_has_the_ledger_of_its_database(tasks: list[TaskContext], cars: Handle) -> None:
    """In a sandbox a task is done once, and afterwards it was never done."""
    insert = inserting(cars)

    with testing.sandbox(cars):
        assert [deliver(tasks, insert, "Lada", n) for n in range(2)] == [0, 0]
        assert names(cars) == ["Lada"]
    assert deliver(tasks, insert, "Volga", 2) == 2

    assert names(cars) == ["Volga"]


def test_plain_function_is_called_with_anything(cars: Handle) -> None:
    """``__wrapped__`` knows of no ledger."""
    insert = inserting(cars)
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE car (name TEXT)")
        insert.__wrapped__(db, "Lada")  # type: ignore[attr-defined]  # functools' protocol
        assert db.execute("SELECT name FROM car").fetchall() == [("Lada",)]
    db.close()


def test_tasks_of_the_fixture_do_not_join(tasks: list[TaskContext], cars: Handle) -> None:
    """A nested task is an execution of its own, and is done once although its caller is rolled back."""
    insert = inserting(cars)

    with pytest.raises(ValueError, match="no"), task(tasks):
        deliver(tasks, insert, "Lada", task_id="inner")
        raise ValueError("no")

    assert names(cars) == ["Lada"]
