"""`once`: what is refused before the function is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import taskconn
from taskconn import with_db
from taskconn._context import TaskContext
from taskconn.errors import DecorationError, LedgerDialectError, LedgerMissingError, OnceRefusedError
from tests.once.deliveries import Handle, deliver, inserting, names
from tests.support.core import fake

pytestmark = pytest.mark.portable


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
