from __future__ import annotations

import logging

import pytest

import taskconn
from taskconn import _process, after_commit
from taskconn.errors import (
    LeaseEndedError,
    ManualSettlementError,
    PartialCommitError,
    RollbackOnlyError,
    UnsettledProxyError,
)
from taskconn.testing import FakeDriver, FakeError
from tests.support.core import fake

pytestmark = pytest.mark.portable


# -- nesting -----------------------------------------------------------------------------------------------------------


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


# -- several aliases ---------------------------------------------------------------------------------------------------


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


# -- interrupts on the way ---------------------------------------------------------------------------------------------


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


# -- the rest ----------------------------------------------------------------------------------------------------------


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
