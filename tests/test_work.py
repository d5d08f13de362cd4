"""The unit of work: which leases join, by task, thread, asyncio task and greenlet."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Iterator

import pytest

import taskconn
from taskconn import after_commit
from taskconn._context import TaskContext
from taskconn.errors import RollbackOnlyError
from taskconn.testing import FakeConnection
from tests.support.core import fake, task, task_system

pytestmark = pytest.mark.portable


class SoftLimit(Exception):  # noqa: N818 -- named as Celery names it
    """A limit that a task system throws."""


@pytest.fixture
def tasks() -> Iterator[list[TaskContext]]:
    """Give the list of running tasks of a task system that throws `SoftLimit`."""
    with task_system(SoftLimit) as running:
        yield running


# -- tasks -------------------------------------------------------------------------------------------------------------


def test_nested_task_does_not_join(tasks: list[TaskContext]) -> None:
    """A task that runs inside another has its own connection and its own settlement; a direct call joins."""
    app = fake()

    with task(tasks), app.lease() as outer:
        with app.lease() as direct:
            outer.execute("INSERT")
        with pytest.raises(ZeroDivisionError, match="division"), task(tasks), app.lease() as nested:
            nested.execute("INSERT")
            _ = 1 / 0

    assert direct is outer
    assert nested is not outer
    assert (outer.committed, nested.committed) == (["INSERT"], [])


def test_task_does_not_join_a_lease_around_it(tasks: list[TaskContext]) -> None:
    """A lease held by the caller of `apply()` is not the task's."""
    app = fake()

    with app.lease() as outer, task(tasks), app.lease() as inner:
        pass

    assert inner is not outer


def test_nested_tasks_callbacks_wait_for_its_own_commit(tasks: list[TaskContext]) -> None:
    """`after_commit` in a nested task runs when that task has committed, not when the outer one has."""
    app = fake()
    seen: list[str] = []

    with task(tasks), app.lease():
        after_commit(seen.append, "outer")
        with task(tasks), app.lease():
            after_commit(seen.append, "nested")
        assert seen == ["nested"]
        with task(tasks):
            after_commit(seen.append, "no lease")
        with app.lease():
            after_commit(seen.append, "joined")
        assert seen == ["nested", "no lease"]

    assert seen == ["nested", "no lease", "outer", "joined"]


def test_tasks_registry_is_where_its_aliases_are(tasks: list[TaskContext]) -> None:
    """A name is looked up in the registry of the task that runs."""
    app = fake()

    with task(tasks, registry=app.registry), taskconn.lease() as db:
        pass

    assert app.opened == [db]


def test_returned_failure_rolls_back_and_drops_callbacks() -> None:
    """A returned value that means failure (RQ's ``Retry``) rolls back, callbacks too, even if nothing was sent."""
    app = fake()
    seen: list[int] = []

    for statements in (["INSERT"], []):
        lease = app.lease()
        db = lease.begin(None)
        for statement in statements:
            db.execute(statement)
        after_commit(seen.append, 1)
        lease.succeed(commits=False)

    assert (db.calls, db.committed, seen) == (["INSERT", "rollback"], [], [])


def test_returned_failure_of_an_inner_lease_rolls_the_outer_one_back() -> None:
    """A joined lease that means failure leaves the outer one nothing to commit."""
    app = fake()
    inner = app.lease()

    with pytest.raises(RollbackOnlyError, match="means failure"), app.lease() as db:
        db.execute("INSERT")
        inner.begin(None)
        inner.succeed(commits=False)

    assert db.committed == []


# -- runners -----------------------------------------------------------------------------------------------------------


def test_another_thread_may_give_back() -> None:
    """A lease may be ended by another thread than the one that took it."""
    app = fake(max_size=1)
    lease = app.lease()
    lease.begin(None).execute("INSERT")

    thread = threading.Thread(target=lease.succeed)
    thread.start()
    thread.join()
    with app.lease() as db:
        pass

    assert db.committed == ["INSERT"]
    assert app.opened == [db]


def test_copied_context_does_not_join() -> None:
    """Context variables are copied into threads, leases are not: another thread has a connection of its own."""
    app = fake()

    def in_thread() -> FakeConnection:
        with app.lease() as db:
            return db

    async def main() -> tuple[FakeConnection, FakeConnection, FakeConnection]:
        with app.lease() as outer:
            with app.lease() as direct:
                pass
            return outer, direct, await asyncio.to_thread(in_thread)

    outer, direct, threads = asyncio.run(main())
    with app.lease() as of_thread:
        assert contextvars.copy_context().run(in_thread) is of_thread, "the same thread joins"

    assert direct is outer
    assert threads is not outer


def test_asyncio_tasks_have_leases_of_their_own() -> None:
    """Tasks of one loop never share a connection, though they run in one thread and copy one context."""
    app = fake()
    together = []

    async def work(all_in: asyncio.Event) -> FakeConnection:
        with app.lease() as db:
            together.append(db)
            if len(together) == 4:
                all_in.set()
            await all_in.wait()
            with app.lease() as joined:
                assert joined is db
            return db

    async def main() -> list[FakeConnection]:
        all_in = asyncio.Event()
        with app.lease() as outer:
            return [outer, *await asyncio.gather(*(work(all_in) for _ in range(4)))]

    connections = asyncio.run(main())

    assert len(set(map(id, connections))) == 5


def test_loading_greenlet_in_a_lease_makes_no_other_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that imports something which loads greenlet keeps its lease: inner ones join, callbacks wait."""
    app = fake()
    seen: list[int] = []
    pytest.importorskip("greenlet")
    greenlet = sys.modules["greenlet"]
    monkeypatch.delitem(sys.modules, "greenlet")

    with app.lease() as outer:
        monkeypatch.setitem(sys.modules, "greenlet", greenlet)
        with app.lease() as inner:
            after_commit(seen.append, 1)
        assert (inner, seen) == (outer, [])

    assert seen == [1]
