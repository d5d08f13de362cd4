"""`once`: what becomes of results and failures, and of what is settled by hand."""

from __future__ import annotations

from typing import Any

import pytest

import taskconn
from taskconn import after_commit, with_db
from taskconn._context import TaskContext
from taskconn.errors import ManualSettlementError, OnceLostError, OnceResultError, OnceUnfinishedError
from tests.once.deliveries import Handle, deliver, inserting, names

pytestmark = pytest.mark.portable


@pytest.mark.parametrize(
    ("result", "stored"),
    [(None, None), ("Škoda", "Škoda"), ([1, {"a": [None, 1.5]}], [1, {"a": [None, 1.5]}]), ((1, 2), [1, 2])],
    ids=["none", "text", "nested", "tuple"],
)
def test_result_comes_back_as_json_has_it(tasks: list[TaskContext], cars: Handle, result: Any, stored: Any) -> None:
    """The first call returns its own object, the next ones what JSON makes of it."""
    insert = inserting(cars)

    assert [deliver(tasks, insert, "Lada", result) for _ in range(2)] == [result, stored]


def test_result_that_cant_be_json_rolls_back(tasks: list[TaskContext], cars: Handle) -> None:
    """A result that could not be returned again is refused at once, and the work is undone."""
    insert = inserting(cars)
    endless: list[Any] = []
    endless.append(endless)

    for result in (object(), {1, 2}, endless, {("a",): 1}):
        with pytest.raises(OnceResultError, match="Return None, strings, numbers"):
            deliver(tasks, insert, "Lada", result)

    assert names(cars) == []


def test_result_that_means_failure_is_not_stored(tasks: list[TaskContext], cars: Handle) -> None:
    """What RQ or `rollback_on` takes for failure is returned, rolled back, and tried again; it need not be JSON."""
    insert = inserting(cars, rollback_on=lambda result: result == "bad")
    retry = object()
    fields = {"returns_commit": lambda result: result is not retry}

    assert deliver(tasks, insert, "1", retry, **fields) is retry
    assert deliver(tasks, insert, "2", "bad", **fields) == "bad"
    assert deliver(tasks, insert, "3", "good", **fields) == "good"

    assert names(cars) == ["3"]


def test_nothing_is_settled_by_hand(tasks: list[TaskContext], cars: Handle) -> None:
    """A commit in the middle would commit the entry without the rest; the next lease may commit as ever."""

    @with_db(cars, once=True)
    def insert(db: Any) -> None:
        db.commit()

    with pytest.raises(ManualSettlementError, match="has to be committed together with all of its work"):
        deliver(tasks, insert)
    with taskconn.lease(cars) as db:
        db.commit()


def test_callbacks_belong_to_the_first_delivery(tasks: list[TaskContext], cars: Handle) -> None:
    """What waits for the commit is done once, too."""
    ran: list[int] = []

    @with_db(cars, once=True)
    def insert(db: Any) -> None:
        after_commit(ran.append, 1)

    for _ in range(3):
        deliver(tasks, insert)

    assert ran == [1]


def test_call_of_itself_is_refused(tasks: list[TaskContext], cars: Handle) -> None:
    """A function that calls itself is the same execution, which has no result yet."""

    @with_db(cars, once=True)
    def insert(db: Any, depth: int) -> None:
        insert(depth + 1)

    with pytest.raises(OnceUnfinishedError, match="it was called again by itself"):
        deliver(tasks, insert, 0)


def test_entry_that_was_committed_halfway_is_named(tasks: list[TaskContext], cars: Handle) -> None:
    """A COMMIT as text commits the entry, and then the function fails: the next delivery neither runs nor succeeds."""

    @with_db(cars, once=True)
    def insert(db: Any) -> None:
        db.execute("INSERT INTO car VALUES ('half')")
        db.execute("COMMIT")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        deliver(tasks, insert)
    with pytest.raises(OnceUnfinishedError, match=r"delete the row of taskconn_ledger with entry = '[0-9a-f]{64}'"):
        deliver(tasks, insert)

    assert names(cars) == ["half"]


def test_entry_that_was_lost_is_named(tasks: list[TaskContext], cars: Handle) -> None:
    """A transaction that was rolled back inside the function took the entry along: the rest is not committed either."""

    @with_db(cars, once=True)
    def insert(db: Any) -> None:
        db.execute("ROLLBACK")
        db.execute("INSERT INTO car VALUES ('half')")

    with pytest.raises(OnceLostError, match="the task can be tried again"):
        deliver(tasks, insert)

    assert names(cars) == []
