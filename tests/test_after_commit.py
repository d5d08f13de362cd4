"""`after_commit`: what waits for the outermost commit, and what becomes of it when there is none."""

from __future__ import annotations

from typing import Any

import pytest

from taskconn import after_commit
from tests.support.core import fake

pytestmark = pytest.mark.portable


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
        after_commit(divide, 1, 0)
        after_commit(seen.append, 2)

    assert seen == [2]
    assert db.committed == ["INSERT"]
    assert "after_commit: divide failed in process" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def divide(dividend: int, divisor: int) -> float:
    """Fail, for some divisors."""
    return dividend / divisor


def test_interrupt_in_a_callback_passes(caplog: pytest.LogCaptureFixture) -> None:
    """A callback is interrupted like any other code; what comes after it is dropped, and the log names it."""
    app = fake()
    seen: list[int] = []

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), app.lease() as db:
        db.execute("INSERT")
        after_commit(stop)
        after_commit(seen.append, 1)
        after_commit(divide, 1, 1)
    with app.lease():
        pass

    assert (db.committed, seen) == (["INSERT"], [])
    assert "not called any more: ['list.append', 'divide']" in caplog.text


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
