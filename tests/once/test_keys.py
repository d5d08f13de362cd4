"""`once`: which calls are one and the same."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import taskconn
from taskconn import with_db
from taskconn._context import TaskContext
from tests.once.deliveries import Handle, deliver, inserting, names

pytestmark = pytest.mark.portable


def test_repeated_delivery_gets_the_first_result(tasks: list[TaskContext], cars: Handle) -> None:
    """The second delivery of a task is not run, and returns what the first one has returned."""
    insert = inserting(cars)

    assert [deliver(tasks, insert, "Lada", {"id": n}) for n in range(3)] == [{"id": 0}] * 3
    assert names(cars) == ["Lada"]


def test_tasks_with_different_ids_are_different(tasks: list[TaskContext], cars: Handle) -> None:
    """Neither another id, nor another repetition of the same, nor another function is a repeated delivery."""
    insert = inserting(cars)

    @with_db(cars, once=True)
    def other(db: Any, name: str) -> None:
        db.execute("INSERT INTO car VALUES (?)", (name,))

    deliver(tasks, insert, "1")
    deliver(tasks, insert, "2", task_id="task-2")
    deliver(tasks, insert, "3", repetition="1")
    deliver(tasks, other, "4")

    assert names(cars) == ["1", "2", "3", "4"]


def test_failed_attempt_is_made_again(tasks: list[TaskContext], cars: Handle) -> None:
    """An attempt that raised was rolled back, entry and all: its retry, with the same id, runs."""
    insert = inserting(cars)

    with pytest.raises(ValueError, match="no"):
        deliver(tasks, insert, "Lada", ValueError("no"))
    assert deliver(tasks, insert, "Lada", 1) == 1
    assert deliver(tasks, insert, "Lada", 2) == 1

    assert names(cars) == ["Lada"]


def test_key_of_ones_own(tasks: list[TaskContext], cars: Handle) -> None:
    """A key of the caller's arguments makes calls one wherever they come from, tasks or not, deep inside or not."""
    insert = inserting(cars, once=lambda name, *_, **__: name)

    def caller() -> Any:
        with taskconn.lease(cars):
            return insert("Lada", 2)

    assert [insert("Lada", 1), deliver(tasks, caller), insert(name="Lada")] == [1, 1, 1]
    assert insert("Volga", 3) == 3
    assert names(cars) == ["Lada", "Volga"]


@pytest.mark.parametrize("place", ["first", "after-self", "keyword-only"])
def test_key_is_made_of_the_callers_arguments(cars: Handle, place: str) -> None:
    """The function that makes the key sees what the caller has passed, without the connection, wherever that goes."""
    seen: list[Any] = []

    def key(*args: Any, **kwargs: Any) -> str:
        seen.append((args, kwargs))
        return "key"

    if place == "first":

        @with_db(cars, once=key)
        def insert(db: Any, one: int, two: int = 2) -> None: ...
    elif place == "after-self":

        @with_db(cars, once=key)
        def insert(one: int, db: Any, two: int = 2) -> None: ...
    else:

        @with_db(cars, once=key)
        def insert(one: int, two: int = 2, *, db: Any) -> None: ...

    insert(1, two=3)
    insert(1, 3)

    assert seen == [((1,), {"two": 3}), ((1, 3), {})]


def test_coroutine_function_is_awaited_once(tasks: list[TaskContext], cars: Handle) -> None:
    """An ``async def`` is done once, too."""

    @with_db(cars, once=True)
    async def insert(db: Any, name: str) -> str:
        await asyncio.sleep(0)
        db.execute("INSERT INTO car VALUES (?)", (name,))
        return name

    for name in ("Lada", "Volga"):
        tasks.append(TaskContext(object(), "tests", "task-1", "shop.insert", entry=lambda: insert))
        assert asyncio.run(insert(name)) == "Lada"
        tasks.pop()
    assert names(cars) == ["Lada"]


def test_entry_is_found_behind_decorators_and_methods(tasks: list[TaskContext], cars: Handle) -> None:
    """What a task system calls may be wrapped by others, or be a method: it is the same function."""

    class Shop:
        @with_db(cars, once=True)
        def insert(self, db: Any, name: str) -> str:
            db.execute("INSERT INTO car VALUES (?)", (name,))
            return name

    shop = Shop()

    @functools.wraps(shop.insert)
    def retrying(*args: Any) -> Any:
        return shop.insert(*args)

    assert [deliver(tasks, retrying, name) for name in ("Lada", "Volga")] == ["Lada", "Lada"]
