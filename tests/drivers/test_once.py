"""`with_db(once=True)` on a real server, over every row of `ROWS`: entry, work and result are one transaction."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from taskconn import Handle, Registry, _ledger, lease, with_db
from taskconn._context import TaskContext
from taskconn.errors import LedgerDialectError, ManualSettlementError, OnceRefusedError, OnceUnfinishedError
from tests.drivers.rows import ROWS, Row
from tests.support.core import task_system
from tests.support.process import Script

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

_SQL = [row for row in ROWS.values() if row.driver.transactional]
with_sql = pytest.mark.parametrize("row", _SQL, ids=lambda row: row.name)


class _Base(DeclarativeBase):
    pass


class _Car(_Base):
    __tablename__ = "car"
    name: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def seed() -> str:
    """Give the seed of random moments; `FUZZ_SEED` repeats a run, as far as signals can be repeated."""
    return os.environ.get("FUZZ_SEED", str(random.randrange(10**6)))


@pytest.fixture
def deliver() -> Iterator[Callable[..., Any]]:
    """Give a function that calls another one as a task system does, always with the same id."""
    with task_system() as running:

        def call(function: Any, *args: Any) -> Any:
            running.append(TaskContext(object(), "tests", "task-1", "shop.insert", entry=lambda: function))
            try:
                return function(*args)
            finally:
                running.pop()

        yield call


def _made(row: Row, request: pytest.FixtureRequest, **options: Any) -> Handle[Any]:
    registry = Registry()
    handle = registry.add("default", row.url(request), **options)
    request.addfinalizer(registry.close)
    with lease(handle) as db:
        row.prepare(db)
        for statement in _ledger.statements(handle.registry.pool("default").driver.dialect, "default"):
            row.run(db, statement)
    return handle


def _unreachable(db: Any) -> None:
    pytest.fail("the function was called")


def _values(row: Row, handle: Handle[Any]) -> list[str]:
    with lease(handle) as db:
        return row.values(db)


@with_sql
def test_work_is_done_once(row: Row, request: pytest.FixtureRequest, deliver: Callable[..., Any]) -> None:
    """A failed attempt leaves nothing, the next one is committed with its result, and the others return that."""
    handle = _made(row, request)

    @with_db(handle, once=True)
    def insert(db: Any, name: str, *, fails: bool = False) -> list[str]:
        row.write(db, name)
        if fails:
            raise ValueError("no")
        return row.values(db)

    def fail(name: str) -> Any:
        return insert(name, fails=True)

    fail.__wrapped__ = insert.__wrapped__  # type: ignore[attr-defined]  # the same function to the task system

    with pytest.raises(ValueError, match="no"):
        deliver(fail, "lost")
    assert [deliver(insert, name) for name in ("first", "second", "third")] == [["first"]] * 3
    assert _values(row, handle) == ["first"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "row", [row for row in _SQL if row.name not in {"sqlalchemy", "sqlite"}], ids=lambda row: row.name
)
def test_interrupted_task_is_done_once(
    row: Row, request: pytest.FixtureRequest, script: Callable[..., Script], seed: str
) -> None:
    """Signals at random moments of claim, savepoints, result and commit: no task is done twice, none half."""
    tasks = 1000 if os.environ.get("FUZZ") == "full" else 60
    program = [sys.executable, "-m", "tests.drivers.once_storm", row.url(request), str(tasks), seed]

    assert "ENDED" in script(program).succeed(90 if tasks == 60 else 500)


@with_sql
def test_commit_by_hand_is_refused(row: Row, request: pytest.FixtureRequest, deliver: Callable[..., Any]) -> None:
    """Every client's ``commit()`` asks first; nothing was committed, and the next delivery runs."""
    handle = _made(row, request)

    @with_db(handle, once=True)
    def insert(db: Any, commits: str) -> None:
        row.write(db, "Lada")
        if commits == "commits":
            db.commit()

    with pytest.raises(ManualSettlementError, match="has to be committed together with all of its work"):
        deliver(insert, "commits")
    assert _values(row, handle) == []
    deliver(insert, "leaves it to the lease")

    assert _values(row, handle) == ["Lada"]


@pytest.mark.parametrize("row", [row for row in _SQL if row.family == "mysql"], ids=lambda row: row.name)
def test_implicit_commit_is_named_at_the_next_delivery(
    row: Row, request: pytest.FixtureRequest, deliver: Callable[..., Any]
) -> None:
    """DDL commits the entry with half of the work: if the rest fails, nobody runs it again unasked."""
    handle = _made(row, request)

    @with_db(handle, once=True)
    def insert(db: Any) -> None:
        row.write(db, "half")
        row.run(db, "CREATE TABLE bike (name VARCHAR(50))")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        deliver(insert)
    with pytest.raises(OnceUnfinishedError, match="Look at the data"):
        deliver(insert)


@pytest.mark.parametrize("row", [ROWS["sqlalchemy"]], ids=["sqlalchemy"])
@pytest.mark.parametrize("inject", ["session", "connection"])
def test_orm_and_core_have_the_ledger_in_their_transaction(
    row: Row, request: pytest.FixtureRequest, deliver: Callable[..., Any], inject: str
) -> None:
    """What a session has not flushed yet is committed with the entry, and so is what a connection has sent."""
    handle = _made(row, request, inject=inject)

    @with_db(handle, once=True)
    def insert(db: Any, name: str) -> str:
        if inject == "session":
            db.add(_Car(name=name))
        else:
            row.write(db, name)
        return name

    assert [deliver(insert, name) for name in ("first", "second")] == ["first", "first"]
    assert _values(row, handle) == ["first"]


@pytest.mark.parametrize("row", [ROWS["sqlalchemy"]], ids=["sqlalchemy"])
def test_engine_is_refused(row: Row, request: pytest.FixtureRequest, deliver: Callable[..., Any]) -> None:
    """An engine's connections are settled by the task, not by the lease."""
    registry = Registry()
    insert = with_db(registry.add("default", row.url(request), inject="engine"), once=True)(_unreachable)

    with pytest.raises(OnceRefusedError, match="inject='session'"):
        deliver(insert)
    registry.close()


@pytest.mark.parametrize("row", [ROWS["redis"]], ids=["redis"])
def test_redis_is_refused(row: Row, request: pytest.FixtureRequest, deliver: Callable[..., Any]) -> None:
    """Redis has no transaction that an entry could be a part of: the function is not called."""
    registry = Registry()
    insert = with_db(registry.add("default", row.url(request)), once=True)(_unreachable)

    with pytest.raises(LedgerDialectError, match="it speaks no SQL"):
        deliver(insert)
    registry.close()
