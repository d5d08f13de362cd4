"""`commit_on` and `rollback_on`: what commits or rolls back otherwise than it would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from taskconn import after_commit, with_db
from taskconn.errors import DecorationError, RollbackOnlyError
from taskconn.testing import FakeConnection
from tests.support.core import Fake, fake, task, task_system

pytestmark = pytest.mark.portable


class Ignore(Exception):  # noqa: N818 -- Celery's name
    pass


def is_bad(result: object) -> bool:
    """Take a word for failure."""
    return result == "bad"


def decorated(app: Fake, kind: str, **rules: Any) -> Callable[[Any], Any]:
    """Give a function that writes, then returns its argument, or raises it; plain, or a coroutine that is run."""

    def end(db: Any, what: Any) -> Any:
        db.execute(str(what))
        if isinstance(what, BaseException):
            raise what
        return what

    if kind == "plain":
        return with_db(app.handle, **rules)(end)

    @with_db(app.handle, **rules)
    async def waits(db: FakeConnection, what: Any) -> Any:
        await asyncio.sleep(0)
        return end(db, what)

    return lambda what: asyncio.run(waits(what))


each_kind = pytest.mark.parametrize("kind", ["plain", "async"])


@each_kind
def test_rollback_on_undoes_what_was_returned(kind: str) -> None:
    """A returned value that `rollback_on` takes for failure is returned, and its work rolled back; callbacks go too."""
    app, ran = fake(), []
    work = decorated(app, kind, rollback_on=lambda result: after_commit(ran.append, result) or is_bad(result))

    assert [work("good"), work("bad"), work("fine")] == ["good", "bad", "fine"]

    assert app.opened[0].committed == ["good", "fine"]
    assert ran == ["good", "fine"]


@each_kind
def test_commit_on_keeps_what_was_raised(kind: str) -> None:
    """An exception of `commit_on` passes, and its work is committed; a subclass too, others are not."""
    app = fake()

    class Narrow(Ignore):
        pass

    work = decorated(app, kind, commit_on=(Ignore,))

    for error in (Ignore("a"), KeyError("b"), Narrow("c")):
        with pytest.raises(type(error), match=str(error.args[0])):
            work(error)

    assert app.opened[0].committed == ["a", "c"]


@each_kind
def test_predicate_that_raises_rolls_back(kind: str) -> None:
    """Nobody knows whether a value means failure if that can't be told: it is rolled back."""
    app = fake()
    work = decorated(app, kind, rollback_on=lambda result: result.missing)

    with pytest.raises(AttributeError, match="missing"):
        work("good")

    assert app.opened[0].committed == []


def test_failure_inside_of_another_lease_fails_that() -> None:
    """A function that joins its caller's transaction can't undo its part alone: the caller can't commit it either."""
    app = fake()
    work = decorated(app, "plain", rollback_on=is_bad)

    with pytest.raises(RollbackOnlyError, match="a returned value that means failure"), app.lease() as db:
        db.execute("outer")
        assert work("bad") == "bad"

    assert db.committed == []


def test_kept_exception_inside_of_another_lease_fails_nothing() -> None:
    """An exception of `commit_on` leaves a joined lease like a return: its caller decides what becomes of it."""
    app = fake()
    work = decorated(app, "plain", commit_on=(Ignore,))

    with app.lease() as db:
        with pytest.raises(Ignore, match="a"):
            work(Ignore("a"))

    assert db.committed == ["a"]


def test_rules_belong_to_one_alias() -> None:
    """Of two decorators each has its own rules, for its own connection."""
    app = fake()
    cache = app.beside("cache")

    @with_db(cache.handle, into="cache", rollback_on=is_bad)
    @with_db(app.handle)
    def work(db: FakeConnection, cache: FakeConnection) -> str:
        db.execute("INSERT")
        cache.execute("SET")
        return "bad"

    assert work() == "bad"
    assert (app.opened[0].committed, cache.opened[0].committed) == (["INSERT"], [])


def test_task_system_has_its_own_word() -> None:
    """What a task system takes for failure rolls back, whatever `rollback_on` says."""
    app = fake()
    work = decorated(app, "plain", rollback_on=is_bad)

    with task_system() as running, task(running, returns_commit=lambda result: result != "retry"):
        assert [work("retry"), work("good")] == ["retry", "good"]

    assert app.opened[0].committed == ["good"]


async def _asks(result: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("rules", "match"),
    [
        ({"commit_on": Ignore}, "is no tuple of exception classes"),
        ({"commit_on": ("Ignore",)}, "is no tuple of exception classes"),
        ({"rollback_on": "bad"}, "can't be asked about a returned value"),
        ({"rollback_on": _asks}, "can't be asked about a returned value"),
    ],
    ids=["class", "word", "no-function", "coroutine"],
)
def test_wrong_rules_are_refused_at_decoration(rules: dict[str, Any], match: str) -> None:
    """A rule that would fail only when it is needed, and hide the task's exception, never gets there."""
    with pytest.raises(DecorationError, match=match):
        decorated(fake(), "plain", **rules)
