from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import taskconn
from taskconn import _process, after_commit
from taskconn._context import TaskContext
from taskconn.errors import (
    CommitOutcomeUnknownError,
    LeaseEndedError,
    ManualSettlementError,
    PartialCommitError,
    RollbackOnlyError,
    TaintedConnectionError,
    UnsettledProxyError,
)
from taskconn.testing import FakeConnection, FakeDriver, FakeError
from tests.support.core import fake, task, task_system

pytestmark = pytest.mark.portable


class SoftLimit(Exception):  # noqa: N818 -- named as Celery names it
    """A limit that a task system throws."""


@pytest.fixture
def tasks() -> Iterator[list[TaskContext]]:
    """Give the list of running tasks of a task system that throws `SoftLimit`."""
    with task_system(SoftLimit) as running:
        yield running


# -- outcome ---------------------------------------------------------------------------------------------------------


def test_block_that_ends_is_committed() -> None:
    """A lease whose block ends commits what was sent, once."""
    app = fake()

    with app.lease() as db:
        db.execute("INSERT")

    assert (db.calls, db.committed) == (["INSERT", "commit"], ["INSERT"])


def test_block_that_raises_is_rolled_back() -> None:
    """A lease whose block raises rolls back, and lets the error pass."""
    app = fake()

    with pytest.raises(ZeroDivisionError, match="division"), app.lease() as db:
        db.execute("INSERT")
        _ = 1 / 0

    assert (db.calls, db.committed) == (["INSERT", "rollback"], [])


def test_lease_that_sent_nothing_costs_no_round_trip() -> None:
    """A lease that sent no statement is given back without a word to the server, however it ends."""
    app = fake()

    with app.lease() as db:
        pass
    with pytest.raises(ZeroDivisionError, match="division"), app.lease():
        _ = 1 / 0

    assert db.calls == []


def test_connection_is_used_again() -> None:
    """Leases one after the other share one connection."""
    app = fake()

    for _ in range(3):
        with app.lease() as db:
            db.execute("INSERT")

    assert app.opened == [db]
    assert app.stats()["leases"] == 3


def test_commit_that_fails_is_rolled_back_with_the_drivers_error() -> None:
    """A commit that the server refuses raises the driver's own error, and the connection goes on clean."""
    app = fake()

    with pytest.raises(FakeError, match="told to fail"), app.lease() as db:
        db.execute("INSERT")
        db.fails_on = {"commit"}

    assert (db.calls, db.committed) == (["INSERT", "rollback"], [])
    assert app.stats()["open"] == 1


def test_commit_without_an_answer_is_an_unknown_outcome() -> None:
    """A connection lost between COMMIT and its answer is an unknown outcome, with the driver's error as its cause."""
    app = fake()

    with pytest.raises(CommitOutcomeUnknownError, match="safe to repeat") as caught, app.lease() as db:
        db.execute("INSERT")
        db.fails_on = {"commit"}
        db.taskconn_session.pending = True

    assert isinstance(caught.value.__cause__, FakeError)
    assert app.stats()["open"] == 0


def test_interrupt_during_commit_passes_with_the_unknown_outcome_as_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody could hold back during a COMMIT drops the connection, and says so by its cause."""
    app = fake()
    monkeypatch.setattr(FakeDriver, "commit", lambda *_: (_ for _ in ()).throw(GeneratorExit("killed")))

    with pytest.raises(GeneratorExit, match="killed") as caught, app.lease() as db:
        db.execute("INSERT")

    assert isinstance(caught.value.__cause__, CommitOutcomeUnknownError)
    assert not db.is_open


def test_rollback_that_fails_drops_the_connection() -> None:
    """A connection that can't even roll back is dropped; the block's own error is the one that is seen."""
    app = fake()

    with pytest.raises(ZeroDivisionError, match="division"), app.lease() as db:
        db.execute("INSERT")
        db.fails_on = {"rollback"}
        _ = 1 / 0

    assert not db.is_open
    assert app.stats()["invalidations"] == 1


def test_swallowed_interrupt_can_not_be_committed() -> None:
    """A block that swallowed an interrupt in a statement raises at its end, and its connection is dropped."""
    app = fake()

    with pytest.raises(TaintedConnectionError, match="new lease outside of this one"), app.lease() as db:
        db.execute("INSERT")
        db.taskconn_session.interrupt = "SoftTimeLimitExceeded"

    assert (db.is_open, db.calls) == (False, ["INSERT"])
    assert app.stats()["taints"] == 1


def test_half_read_reply_is_not_the_next_leases() -> None:
    """A connection with an unread reply is dropped, even if nothing is left to commit."""
    app = fake()

    with app.lease() as db:
        db.taskconn_session.pending = True
    with app.lease() as other:
        pass

    assert other is not db
    assert not db.is_open


def test_connection_closed_by_hand_is_replaced() -> None:
    """`close()` in a block rolls back; the next lease opens another connection."""
    app = fake()

    with app.lease() as db:
        db.execute("INSERT")
        db.close()
    with app.lease() as other:
        other.execute("INSERT")

    assert (db.committed, other.committed) == ([], ["INSERT"])
    assert app.stats()["closes"] == 1


def test_transaction_none_leaves_settling_to_the_task() -> None:
    """With ``transaction="none"`` the lease never commits; what the task left open is rolled back."""
    app = fake(transaction="none")

    with app.lease() as db:
        db.execute("INSERT 1")
        db.commit()
        db.execute("INSERT 2")

    assert db.calls == ["INSERT 1", "commit", "INSERT 2", "rollback"]


def test_reset_runs_between_leases() -> None:
    """``reset`` clears the session after it was settled, by the driver or by a callable that gets the connection."""
    seen: list[list[str]] = []
    app, called = fake(reset=True), fake(reset=lambda db: seen.append(list(db.calls)))

    for one in (app, called):
        with one.lease() as db:
            db.execute("SET x")

    assert app.opened[0].calls == ["SET x", "commit", "reset"]
    assert seen == [["SET x", "commit"]]


def test_reset_that_fails_drops_the_connection_and_keeps_the_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """A commit stands even if the session can't be cleaned after it: the connection is dropped, with a warning."""
    app = fake(reset=lambda _: 1 / 0)

    with app.lease() as db:
        db.execute("INSERT")

    assert (db.committed, db.is_open) == (["INSERT"], False)
    assert "cleaning in process" in caplog.text


# -- nesting ---------------------------------------------------------------------------------------------------------


def test_inner_lease_joins_the_outer_one() -> None:
    """Leases of one alias nest: one connection, one transaction, settled by the outermost."""
    app = fake()

    with app.lease() as outer:
        with app.lease() as inner:
            inner.execute("INSERT")
        assert inner.calls == ["INSERT"]

    assert inner is outer
    assert outer.calls == ["INSERT", "commit"]


def test_swallowed_error_of_an_inner_lease_makes_the_outer_one_roll_back() -> None:
    """An outer lease can't commit half of the work: it raises `RollbackOnlyError` and names the error swallowed."""
    app = fake()

    with pytest.raises(RollbackOnlyError, match=r"ended with ZeroDivisionError(.|\n)*Let the error pass"):
        with app.lease() as db:
            db.execute("INSERT")
            with pytest.raises(ZeroDivisionError, match="division"), app.lease():
                _ = 1 / 0

    assert db.committed == []


def test_lease_object_forgets_its_last_failure() -> None:
    """A `Lease` that failed by an inner one can be used again."""
    app = fake()
    lease = app.lease()
    with pytest.raises(RollbackOnlyError, match="Let the error pass"), lease:
        with pytest.raises(ZeroDivisionError, match="division"), app.lease():
            _ = 1 / 0

    with lease as db:
        db.execute("INSERT")

    assert db.committed == ["INSERT"]


@pytest.mark.parametrize("verb", ["commit", "rollback", "close"])
def test_joined_lease_does_not_settle_by_hand(verb: str) -> None:
    """Settling by hand in a joined lease would settle the outer one's work: it raises. The outer one may."""
    app = fake()

    with app.lease() as outer:
        with app.lease() as inner, pytest.raises(ManualSettlementError, match="outermost lease"):
            getattr(inner, verb)()
        outer.execute("INSERT")
        outer.commit()

    assert outer.committed == ["INSERT"]


def test_lease_is_not_begun_twice() -> None:
    """A lease that is held can't be entered again."""
    app = fake()
    lease = app.lease()

    with lease, pytest.raises(LeaseEndedError, match=r"begun twice(.|\n)*around every use"):
        lease.begin(None)

    assert not lease.is_open


def test_ended_lease_gives_no_connection() -> None:
    """A lease has its connection between its begin and its end alone."""
    app = fake()
    lease = app.lease()
    with lease as db:
        assert lease.connection is db

    with pytest.raises(LeaseEndedError, match="around every use"):
        _ = lease.connection
    with pytest.raises(LeaseEndedError, match="around every use"):
        lease.succeed()
    with pytest.raises(LeaseEndedError, match="around every use"):
        lease.fail(ValueError())


# -- several aliases -------------------------------------------------------------------------------------------------


def test_partial_commit_names_both_aliases() -> None:
    """A commit that fails after another alias was committed says which was, and which was not."""
    app = fake()
    cache = app.beside("cache")

    with pytest.raises(PartialCommitError, match=r"'cache' was committed(.|\n)*'default' failed(.|\n)*innermost"):
        with app.lease() as db:
            for _ in range(3):
                with cache.lease() as other:
                    other.execute("SET")
            db.execute("INSERT")
            db.fails_on = {"commit"}

    assert (db.committed, other.committed) == ([], ["SET"] * 3)


def test_failed_commit_of_the_inner_alias_rolls_both_back() -> None:
    """Commits run innermost first: if the first fails, nothing has been committed."""
    app = fake()
    cache = app.beside("cache")

    with pytest.raises(FakeError, match="told to fail"), app.lease() as db, cache.lease() as other:
        db.execute("INSERT")
        other.execute("SET")
        other.fails_on = {"commit"}

    assert (db.committed, other.committed) == ([], [])


# -- after_commit ----------------------------------------------------------------------------------------------------


def test_callbacks_run_in_order_after_the_outermost_commit() -> None:
    """`after_commit` waits for the outermost lease of the thread, whatever its alias, and keeps the order."""
    app = fake()
    cache = app.beside("cache")
    seen: list[Any] = []

    with app.lease() as db:
        db.execute("INSERT")
        with cache.lease() as other:
            other.execute("SET")
            after_commit(lambda: seen.append(("first", list(db.committed))))
        after_commit(seen.append, "second")
        assert seen == []

    assert seen == [("first", ["INSERT"]), "second"]


def test_callback_runs_after_a_lease_that_sent_nothing() -> None:
    """A lease without a statement has nothing to commit, and its callbacks run."""
    app = fake()
    seen: list[int] = []

    with app.lease():
        after_commit(seen.append, 1)

    assert seen == [1]


def test_callback_outside_of_leases_runs_at_once() -> None:
    """Where nothing is to be committed there is nothing to wait for."""
    seen: list[int] = []

    after_commit(seen.append, 1)

    assert seen == [1]


def test_rollback_drops_callbacks() -> None:
    """What waited for a commit is dropped by any rollback, also by that of an inner alias whose error was swallowed."""
    app = fake()
    cache = app.beside("cache")
    seen: list[int] = []

    with pytest.raises(ZeroDivisionError, match="division"), app.lease():
        after_commit(seen.append, 1)
        _ = 1 / 0
    with app.lease() as db:
        db.execute("INSERT")
        with pytest.raises(ZeroDivisionError, match="division"), cache.lease():
            after_commit(seen.append, 2)
            _ = 1 / 0
    with app.lease():
        pass

    assert seen == []


def test_callback_that_raises_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The commit stands whatever a callback raises, and the next ones run."""
    app = fake()
    seen: list[int] = []

    with app.lease() as db:
        db.execute("INSERT")
        after_commit(lambda: 1 / 0)
        after_commit(seen.append, 2)

    assert seen == [2]
    assert "after_commit callback failed" in caplog.text


def test_interrupt_in_a_callback_passes() -> None:
    """A callback is interrupted like any other code; what comes after it is dropped."""
    app = fake()
    seen: list[int] = []

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), app.lease() as db:
        db.execute("INSERT")
        after_commit(stop)
        after_commit(seen.append, 1)
    with app.lease():
        pass

    assert (db.committed, seen) == (["INSERT"], [])


def test_callback_that_leases_drops_no_other() -> None:
    """A callback may take leases, and wait for their commit; the callbacks behind it run all the same."""
    app = fake()
    seen: list[str] = []

    def lease_again() -> None:
        with app.lease() as db:
            db.execute("UPDATE")
            after_commit(seen.append, "inner")

    with app.lease() as db:
        db.execute("INSERT")
        after_commit(lease_again)
        after_commit(seen.append, "last")

    assert seen == ["inner", "last"]
    assert db.committed == ["INSERT", "UPDATE"]


# -- tasks -----------------------------------------------------------------------------------------------------------


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


# -- runners ---------------------------------------------------------------------------------------------------------


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


# -- interrupts on the way -------------------------------------------------------------------------------------------


def test_interrupt_on_the_way_out_drops_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is interrupted between its block and its settlement neither commits nor keeps its connection."""
    app = fake(max_size=1)
    with app.lease() as db:
        pass

    def interrupt(*_: object, commits: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(taskconn.Lease, "_settle", interrupt)
        with app.lease():
            db.execute("INSERT")
            after_commit(pytest.fail, "a callback of an interrupted lease ran")
    with app.lease() as other:
        pass

    assert (db.is_open, db.committed) == (False, [])
    assert other is not db


def test_interrupt_in_a_health_check_drops_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose ping was interrupted is not given to the next task: its answer would be the next one's."""
    app = fake(health_check_interval=0)
    with app.lease() as db:
        pass

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FakeDriver, "is_alive", interrupt)
        app.lease().begin(None)

    assert not db.is_open
    assert app.stats()["open"] == 0


# -- cost ------------------------------------------------------------------------------------------------------------

#: Functions of C that a warm lease may call. None is a system call but `getpid`; `monotonic` is read without one.
ALLOWED_C_CALLS = {"_get_running_loop", "append", "get", "getcurrent", "getpid", "_getframe", "isinstance", "len"} | {
    "monotonic",
    "pop",
}

COST = """
import json, sys
loaded, way = sys.argv[1:]
if loaded == "loaded":
    import asyncio, greenlet
import taskconn
from taskconn.testing import FakeDriver

registry = taskconn._registry.process_registry
handle = registry.add("default", FakeDriver())
handles = {"by name": "default", "by handle": handle}
if way == "with_db":
    @taskconn.with_db
    def once(db): pass
else:
    def once():
        with taskconn.lease(handles[way]): pass

once()
python, native = [], set()

def note(frame, event, argument):
    if event == "call":
        python.append(frame.f_code.co_name)
    elif event == "c_call":
        native.add(argument.__name__)

sys.setprofile(note)
once()
sys.setprofile(None)
print(json.dumps([python, sorted(native - {"setprofile"})]))
"""


@pytest.mark.parametrize("way", ["by name", "by handle", "with_db"])
@pytest.mark.parametrize("loaded", ["alone", "loaded"])
def test_lease_costs_15_calls_and_no_system_call(loaded: str, way: str) -> None:
    """A warm lease costs at most 15 calls of Python functions, in and out, and nothing of C that asks the system."""
    done = subprocess.run([sys.executable, "-c", COST, loaded, way], capture_output=True, text=True, check=True)

    python, native = json.loads(done.stdout)

    assert len(python) - (way != "with_db") <= 15, python  # without the call of `once`, unless it is what is measured
    assert set(native) <= ALLOWED_C_CALLS


def test_lines_of_the_log_name_alias_and_process(caplog: pytest.LogCaptureFixture) -> None:
    """Opening and dropping are logged at DEBUG, with the connection's name and the process."""
    app = fake()

    with caplog.at_level(logging.DEBUG, logger="taskconn"):
        with app.lease():
            pass
        app.registry.close()

    assert [record.levelname for record in caplog.records] == ["DEBUG"] * 2
    assert all(f"'default': {word} in process {_process.getpid()}" in caplog.text for word in ("opened", "closed"))


def test_unsettled_proxy_stops_a_lease() -> None:
    """A lease does not settle what a proxy of the same thread has begun."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT")

    with pytest.raises(UnsettledProxyError, match=r"`conn.commit\(\)` or `conn.rollback\(\)`"):
        app.lease().begin(None)
    conn.commit()
    with app.lease() as db:
        pass

    assert app.opened == [db]
