"""Deliveries of tasks as a task system makes them, and what they have left in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import taskconn
from taskconn import with_db
from taskconn._context import TaskContext

Handle = taskconn.Handle[Any]


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
