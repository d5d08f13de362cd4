"""`once`: which calls are one and the same, what is refused, and what becomes of results and failures."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import taskconn
from taskconn import _ledger, after_commit, testing, with_db
from taskconn._context import TaskContext
from taskconn.errors import (
    DecorationError,
    LedgerDialectError,
    LedgerMissingError,
    ManualSettlementError,
    OnceLostError,
    OnceRefusedError,
    OnceResultError,
    OnceUnfinishedError,
)
from tests.support.core import fake, task

pytestmark = pytest.mark.portable

Handle = taskconn.Handle[Any]


@pytest.fixture
def cars(tmp_path: Path) -> Iterator[Handle]:
    """Give a SQLite file with a table ``car`` and the ledger."""
    registry = taskconn.Registry()
    handle = registry.add("default", f"sqlite:///{tmp_path}/cars.db")
    with taskconn.lease(handle) as db:
        for statement in ("CREATE TABLE car (name TEXT)", *_ledger.statements("sqlite", "default")):
            db.execute(statement)
    yield handle
    registry.close()


def names(handle: Handle) -> list[str]:
    """List the cars."""
    with taskconn.lease(handle) as db:
        return [name for (name,) in db.execute("SELECT name FROM car ORDER BY rowid")]


def deliver(running: list[TaskContext], function: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    """Call *function* as a task system does, as one attempt of the task with an id."""
    key, task_id = object(), fields.pop("task_id", "task-1")
    context = TaskContext(key, "tests", task_id, "shop.insert", entry=lambda: function, **fields)
    running.append(context)
    try:
        return function(*args)
    finally:
        running.remove(context)


def inserting(handle: Handle, *, once: Any = True, **options: Any) -> Callable[..., Any]:
    """Give a function that inserts a car once, and returns what it is told to."""

    @with_db(handle, once=once, **options)
    def insert(db: Any, name: str, result: Any = None) -> Any:
        db.execute("INSERT INTO car VALUES (?)", (name,))
        if isinstance(result, Exception):
            raise result
        return result

    return insert


# -- which calls are one ----------------------------------------------------------------------------------------------


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


# -- what is refused --------------------------------------------------------------------------------------------------


def test_part_of_a_task_is_refused_without_a_key(tasks: list[TaskContext], cars: Handle) -> None:
    """The id of a task is not that of a function which it calls, perhaps several times; nothing is sent."""
    insert = inserting(cars)

    with pytest.raises(OnceRefusedError, match=r"once=lambda \*args, \*\*kwargs: key"):
        deliver(tasks, lambda: insert("Lada"))
    with pytest.raises(OnceRefusedError, match="outside of tasks"):
        insert("Lada")

    assert names(cars) == []


@pytest.mark.parametrize("once", [True, lambda name: name], ids=["task", "key"])
def test_alias_without_transaction_is_refused(tasks: list[TaskContext], tmp_path: Path, once: Any) -> None:
    """Where the task settles by itself, entry and work can't be one: a key does not change that."""
    registry = taskconn.Registry()
    insert = inserting(registry.add("default", f"sqlite:///{tmp_path}/cars.db", transaction="none"), once=once)

    with pytest.raises(OnceRefusedError, match="Leave `transaction` as it is"):
        deliver(tasks, insert, "Lada")
    registry.close()


def test_client_without_sql_is_refused(tasks: list[TaskContext]) -> None:
    """Without SQL there is no ledger, and nothing is sent."""
    app = fake()
    work = with_db(app.handle, once=True)(lambda db: db.execute("SET"))

    with pytest.raises(LedgerDialectError, match="it speaks no SQL"):
        deliver(tasks, work)

    assert app.opened[0].calls == []


def test_missing_table_is_refused(tasks: list[TaskContext], tmp_path: Path) -> None:
    """Without the table the function is not called."""
    registry = taskconn.Registry()
    insert = inserting(registry.add("default", f"sqlite:///{tmp_path}/cars.db"))

    with pytest.raises(LedgerMissingError, match="taskconn ledger create --alias default"):
        deliver(tasks, insert, "Lada")
    registry.close()


@pytest.mark.parametrize("key", ["", None, True, 1.5, ("a",)], ids=repr)
def test_key_is_a_string_or_an_integer(cars: Handle, key: Any) -> None:
    """What is no key, an empty one above all, would make different calls one."""
    with pytest.raises(OnceRefusedError, match="a string or an integer"):
        inserting(cars, once=lambda _: key)("Lada")


async def _key(name: str) -> str:
    return name


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"once": "order"}, "can't be asked for a key"),
        ({"once": _key}, "can't be asked for a key"),
        ({"once": True, "commit_on": (KeyError,)}, "an exception that commits leaves no result"),
    ],
    ids=["word", "coroutine", "commit-on"],
)
def test_wrong_rules_are_refused_at_decoration(cars: Handle, options: Any, match: str) -> None:
    """What could not be kept is refused where it is written."""
    with pytest.raises(DecorationError, match=match):
        inserting(cars, **options)


def test_once_stands_on_top(cars: Handle) -> None:
    """Above it another alias would be leased for nothing, and its connection be an argument of the key's."""
    insert = inserting(cars)

    with pytest.raises(DecorationError, match="Put the `with_db` that has `once` on top"):
        with_db("cache", into="name")(insert)


# -- results, failures, settling by hand ------------------------------------------------------------------------------


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


# -- tests of users ---------------------------------------------------------------------------------------------------


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
