"""What `with_db` refuses to decorate, with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskconn import with_db
from taskconn.errors import DecorationError
from taskconn.testing import FakeConnection

pytestmark = pytest.mark.portable


def generator(db: FakeConnection) -> Iterator[int]:
    """Yield."""
    yield 1


async def async_generator(db: FakeConnection) -> Any:
    """Yield."""
    yield 1


class Report:
    """A task as a class."""

    def run(self, db: FakeConnection) -> None: ...


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "no parameter": (lambda: with_db(lambda name: name), "Write `def <lambda>(db, name):`"),
    "collected": (lambda: with_db(into="args")(lambda *args: args), "RQ keeps the argument 'args' for itself"),
    "any": (lambda: with_db(into="rest")(lambda **rest: rest), "it has no parameter 'rest'"),
    "generator": (lambda: with_db(generator), "Return a list, or write `with taskconn.lease() as db:`"),
    "async generator": (lambda: with_db(async_generator), "Return a list, or write"),
    "class": (lambda: with_db(Report), "Write `@with_db` above its `run` method"),
    "no function": (lambda: with_db(5), "Write `@with_db`, `@with_db('alias')`"),  # type: ignore[call-overload]
    "name of RQ's": (lambda: with_db(into="meta")(lambda meta: meta), "Name the parameter otherwise"),
    "of C": (lambda: with_db(dict.update), "Write a function around it"),  # type: ignore[call-overload]
}


@pytest.mark.parametrize(("decorate", "remedy"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_can_not_be_decorated_is_refused_with_a_remedy(decorate: Callable[[], object], remedy: str) -> None:
    """A function that could never get its connection is refused where it is written, with what to write instead."""
    with pytest.raises(DecorationError, match=re.escape(remedy)):
        decorate()


def test_place_that_may_be_left_out_is_refused() -> None:
    """A connection that can only be passed by place can't stand behind what the caller may leave out."""

    def behind(name: str = "", db: FakeConnection | None = None, /) -> None: ...

    with pytest.raises(DecorationError, match="Put 'db' first"):
        with_db(behind)  # type: ignore[call-overload]


def test_task_object_is_refused_with_the_right_order() -> None:
    """`@with_db` above `@app.task` would decorate the task's object: the message has the right order."""
    celery = pytest.importorskip("celery")
    celery_app = celery.Celery("shop", set_as_current=False)

    def pay(db: FakeConnection) -> None: ...

    for lazy in (True, False):
        with pytest.raises(DecorationError, match=r"Write `@app\.task` above `@with_db`"):
            with_db(celery_app.task(pay, lazy=lazy, name=f"pay-{lazy}"))
