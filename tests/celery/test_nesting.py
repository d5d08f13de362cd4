"""Tasks inside tasks, on the fake driver: which calls are attempts of their own, and which are part of another."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from celery import Celery, Task, chain, group

import taskconn
import taskconn.celery
from taskconn import with_db
from taskconn._context import current_task
from taskconn.testing import FakeConnection


def committed(app: Celery) -> list[str]:
    """List what was committed on the connections of *app*, in the order in which they were opened."""
    return [words for connection in app.driver.opened for words in connection.committed]


def test_direct_call_joins_and_apply_does_not(app: Celery) -> None:
    """A direct call is part of the task around it; `apply()` makes a task of its own, with its own settlement."""

    @app.task
    @with_db
    def inner(db: FakeConnection, words: str) -> None:
        db.execute(words)

    @app.task
    @with_db
    def outer(db: FakeConnection) -> None:
        db.execute("outer")
        inner("called")
        inner.run("run")
        inner.apply(("applied",))
        raise ValueError

    outer.apply()

    assert committed(app) == ["applied"]
    assert len(app.driver.opened) == 2


@pytest.mark.parametrize("how", ["delay", "chain", "group"])
def test_eager_tasks_inside_a_task_are_their_own(make_app: Callable[..., Celery], how: str) -> None:
    """With `task_always_eager` what a task sends runs at once, and is settled by itself all the same."""
    app = make_app(task_always_eager=True)

    @app.task
    @with_db
    def inner(db: FakeConnection, *words: str) -> str:
        return db.execute(words[-1])

    @app.task
    @with_db
    def outer(db: FakeConnection) -> None:
        db.execute("outer")
        if how == "delay":
            inner.delay("a")
            inner.delay("b")
        elif how == "chain":
            chain(inner.s("a"), inner.s("b")).delay()
        else:
            group(inner.s("a"), inner.s("b")).delay()
        raise ValueError

    outer.delay()

    assert committed(app) == ["a", "b"]


def test_task_that_calls_itself_joins(app: Celery) -> None:
    """A task that calls itself gets a copy of its own request, and stays one task."""

    @app.task(bind=True)
    @with_db
    def count_down(self: Task, db: FakeConnection, n: int) -> None:
        db.execute(str(n))
        if n:
            self(n - 1)

    count_down.apply((3,))

    assert len(app.driver.opened) == 1
    assert app.driver.opened[0].calls == ["3", "2", "1", "0", "commit"]


def test_task_called_through_another_one_joins_the_nearest_attempt(app: Celery) -> None:
    """A direct call belongs to the nearest attempt around it, whatever it claims to be."""
    seen: dict[str, object] = {}

    @app.task
    def first(*, back: bool = False) -> None:
        seen["back" if back else "first"] = current_task().key
        if not back:
            second.apply()

    @app.task
    def second() -> None:
        seen["second"] = current_task().key
        first(back=True)

    first.apply()

    assert seen["back"] is seen["second"]
    assert seen["first"] is not seen["second"]


def test_eager_retry_is_an_attempt_of_its_own(app: Celery) -> None:
    """An eager retry keeps the id and runs inside the first attempt, whose work is rolled back nevertheless."""

    @app.task(bind=True, max_retries=1)
    @with_db
    def pay(self: Task, db: FakeConnection) -> None:
        db.execute(f"attempt {self.request.retries}")
        if not self.request.retries:
            raise self.retry(countdown=0)

    pay.apply()

    assert committed(app) == ["attempt 1"]


def test_another_thread_of_a_task_is_outside_of_it(app: Celery) -> None:
    """A thread that a task starts leases by itself: it is not part of the task's transaction."""

    @app.task
    @with_db
    def outer(db: FakeConnection) -> None:
        def lease() -> None:
            with taskconn.lease() as own:
                own.execute("thread")

        db.execute("task")
        thread = threading.Thread(target=lease)
        thread.start()
        thread.join()
        raise ValueError

    outer.apply()

    assert committed(app) == ["thread"]
