from __future__ import annotations

import os
from pathlib import Path

import pytest

import taskconn
from taskconn import after_commit, savepoint, testing
from taskconn._context import TaskContext
from taskconn.errors import (
    ManualSettlementError,
    RollbackOnlyError,
    SavepointError,
    SavepointLostError,
    TaintedConnectionError,
)
from taskconn.testing import FakeError, in_forked_child
from tests.support.core import fake, task

pytestmark = pytest.mark.portable


def test_block_that_raises_is_undone_alone() -> None:
    """What a block did is undone if it raises; what stands around it is committed."""
    app = fake()

    with app.lease() as db:
        db.execute("before")
        with pytest.raises(ValueError, match="no"), savepoint(app.handle) as same:
            same.execute("inside")
            raise ValueError("no")
        db.execute("after")

    assert same is db
    assert db.committed == ["before", "after"]


def test_block_that_ends_commits_nothing() -> None:
    """The end of a block keeps its work for the lease's commit, and a lease that fails takes it along."""
    app = fake()

    with pytest.raises(ValueError, match="no"), app.lease() as db:
        with savepoint(app.handle):
            db.execute("inside")
        assert db.committed == []
        raise ValueError("no")

    assert db.committed == []


def test_blocks_nest() -> None:
    """An inner block that is undone leaves the outer one's work, under names that are never used twice."""
    app = fake()

    with app.lease() as db, savepoint(app.handle):
        db.execute("outer")
        with pytest.raises(ValueError, match="no"), savepoint(app.handle):
            db.execute("inner")
            raise ValueError("no")
        with savepoint(app.handle):
            db.execute("last")

    assert db.committed == ["outer", "last"]
    names = [call for call in db.calls if call.startswith("savepoint")]
    assert len(names) == len(set(names)) == 3


def test_callbacks_of_an_undone_block_are_dropped() -> None:
    """Only those callbacks run whose blocks were kept, in the order in which they were given."""
    app, ran = fake(), []

    with app.lease() as db:
        db.execute("before")
        after_commit(ran.append, 1)
        with pytest.raises(ValueError, match="no"), savepoint(app.handle):
            after_commit(ran.append, 2)
            with savepoint(app.handle):
                after_commit(ran.append, 3)
            raise ValueError("no")
        with savepoint(app.handle):
            after_commit(ran.append, 4)
        after_commit(ran.append, 5)
        assert ran == []

    assert ran == [1, 4, 5]


def test_failure_of_a_joined_lease_is_undone_with_its_block() -> None:
    """A lease that fails inside a block that is undone does not doom the outer one."""
    app = fake()

    with app.lease() as db:
        db.execute("outer")
        with pytest.raises(ValueError, match="no"), savepoint(app.handle), app.lease() as joined:
            joined.execute("inner")
            raise ValueError("no")

    assert db.committed == ["outer"]


def test_failure_of_a_joined_lease_stays_in_a_block_that_is_kept() -> None:
    """A block that swallows the failure of a lease inside it keeps half of its work, so that nothing is committed."""
    app = fake()

    with pytest.raises(RollbackOnlyError, match="Let the error pass"), app.lease() as db, savepoint(app.handle):
        with pytest.raises(ValueError, match="no"), app.lease() as joined:
            joined.execute("inner")
            raise ValueError("no")

    assert db.committed == []


def test_nothing_is_settled_by_hand_in_a_block() -> None:
    """A commit inside a block would lose the savepoint; after the block it is the task's own again."""
    app = fake()

    with app.lease() as db:
        with savepoint(app.handle):
            with pytest.raises(ManualSettlementError, match="a savepoint is open"):
                db.commit()
        db.execute("after")
        db.commit()

    assert db.committed == ["after"]


def test_block_outside_of_a_lease_is_refused(tasks: list[TaskContext]) -> None:
    """There is nothing to undo without a lease; that of the task around a nested one is none."""
    app = fake()

    with pytest.raises(SavepointError, match=r"Write it inside `with taskconn\.lease"), savepoint(app.handle):
        pass
    with task(tasks), app.lease(), task(tasks):
        with pytest.raises(SavepointError, match="no lease of that connection is open here"), savepoint(app.handle):
            pass


def test_lease_of_another_alias_is_none() -> None:
    """The lease has to be the alias's own."""
    app = fake()
    other = app.beside("other")

    with other.lease(), pytest.raises(SavepointError, match="no lease of that connection"), savepoint(app.handle):
        pass


def test_block_without_transactions_is_refused() -> None:
    """Where the task settles by itself, taskconn does not know whether a transaction is open."""
    app = fake(transaction="none")

    with app.lease(), pytest.raises(SavepointError, match="Send SAVEPOINT yourself"), savepoint(app.handle):
        pass


def test_block_is_not_entered_twice() -> None:
    """Each block needs a savepoint of its own."""
    app = fake()

    with app.lease():
        block = savepoint(app.handle)
        with block, pytest.raises(SavepointError, match="for each block anew"), block:
            pass


def test_block_that_outlives_its_lease_says_nothing() -> None:
    """The connection may be another task's by then: nothing is sent, and it may be settled by hand again."""
    app = fake()
    block = savepoint(app.handle)

    with app.lease() as db:
        block.__enter__()
        db.execute("inside")
    calls = db.calls[:]
    with pytest.raises(SavepointError, match="its lease has ended before it"):
        block.__exit__(None, None, None)

    assert db.calls == calls
    with app.lease() as same:
        same.execute("by hand")
        same.commit()
    assert same is db


def test_interrupt_costs_the_connection() -> None:
    """A limit that leaves a block, and is swallowed, has the lease rolled back and its connection dropped."""
    app = fake()

    with pytest.raises(TaintedConnectionError, match="KeyboardInterrupt"), app.lease() as db:
        db.execute("before")
        with pytest.raises(KeyboardInterrupt, match="now"), savepoint(app.handle):
            after_commit(pytest.fail, "the callback of a block that was interrupted")
            raise KeyboardInterrupt("now")

    assert db.committed == []
    assert app.stats()["taints"] == 1
    assert not any(call.startswith("rollback to") for call in db.calls)


def test_lost_savepoint_is_named() -> None:
    """A savepoint that the server knows no more is a named error, with the block's own exception as its cause."""
    app = fake()

    with pytest.raises(SavepointLostError, match="Move such statements out") as raised, app.lease() as db:
        with savepoint(app.handle) as inside:
            name = inside.calls[-1].removeprefix("savepoint ")
            db.fails_on |= {f"release {name}", f"rollback to {name}"}
            db.execute("DDL")

    assert isinstance(raised.value.__cause__, FakeError)
    assert db.committed == []


def test_error_of_the_block_goes_before_a_lost_savepoint() -> None:
    """After a deadlock there is no savepoint any more: the task sees the deadlock, and nothing is committed."""
    app = fake()

    with pytest.raises(RollbackOnlyError, match="Let the error pass"), app.lease() as db:
        with pytest.raises(FakeError, match="deadlock"), savepoint(app.handle):
            db.fails_on.add(db.calls[-1].replace("savepoint", "rollback to", 1))
            raise FakeError("deadlock")

    assert db.committed == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_child_that_leaves_an_inherited_block_says_nothing() -> None:
    """A child that was forked inside a block neither ends nor undoes it: it is the parent's."""
    app = fake()
    block = savepoint(app.handle)

    def leave() -> list[str]:
        block.__exit__(None, None, None)
        return db.calls[:]

    with app.lease() as db:
        block.__enter__()
        db.execute("inside")
        calls = db.calls[:]
        assert in_forked_child(leave) == calls
        block.__exit__(None, None, None)

    assert db.committed == ["inside"]


def test_block_in_a_sandbox_is_undone_alone(tmp_path: Path) -> None:
    """Code with savepoints runs in a test's sandbox as anywhere."""
    registry = taskconn.Registry()
    handle = registry.add("default", f"sqlite:///{tmp_path}/cars.db")
    with taskconn.lease(handle) as db:
        db.execute("CREATE TABLE car (name TEXT)")

    with testing.sandbox(handle) as sandboxed, taskconn.lease(handle) as db:
        db.execute("INSERT INTO car VALUES ('kept')")
        with pytest.raises(ValueError, match="no"), savepoint(handle):
            db.execute("INSERT INTO car VALUES ('undone')")
            raise ValueError("no")
        assert sandboxed.execute("SELECT name FROM car").fetchall() == [("kept",)]
    registry.close()


def test_block_on_an_overridden_alias_is_entered() -> None:
    """A test's own object in an alias's place does not stop the code under test."""
    with testing.override("default", "connection"), taskconn.lease(), savepoint() as db:
        assert db == "connection"
