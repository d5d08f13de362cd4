"""How a lease ends: committed, rolled back, of unknown outcome, and in which state the connection goes back."""

from __future__ import annotations

import pytest

from taskconn import with_db
from taskconn.errors import CommitOutcomeUnknownError, TaintedConnectionError
from taskconn.testing import FakeConnection, FakeDriver, FakeError
from tests.support.core import fake

pytestmark = pytest.mark.portable


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


def _lose(_: object, connection: FakeConnection, __: float) -> None:
    connection.taskconn_session.pending = True
    raise FakeError("lost")


def test_commit_without_an_answer_is_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection lost between COMMIT and its answer is an unknown outcome, with the driver's error as its cause."""
    app = fake()
    monkeypatch.setattr(FakeDriver, "commit", _lose)

    with pytest.raises(CommitOutcomeUnknownError, match="safe to repeat") as caught, app.lease() as db:
        db.execute("INSERT")

    assert isinstance(caught.value.__cause__, FakeError)
    assert app.stats()["open"] == 0


def test_connection_that_a_statement_has_lost_is_known_to_have_committed_nothing() -> None:
    """Its error was swallowed: no COMMIT can be sent, and the driver's error says so."""
    app = fake()

    with pytest.raises(FakeError, match="closed"), app.lease() as db:
        db.execute("INSERT")
        db.taskconn_session.pending = True
        db.is_open = False

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


def test_commit_on_commits_what_was_raised() -> None:
    """``commit_on`` names exceptions that commit although they are raised; others roll back."""
    app = fake()

    class Ignore(Exception):  # noqa: N818 -- Celery's name
        pass

    @with_db(app.handle, commit_on=(Ignore,))
    def work(db: FakeConnection, error: type[Exception]) -> None:
        db.execute(error.__name__)
        raise error

    with pytest.raises(Ignore):
        work(Ignore)
    with pytest.raises(KeyError):
        work(KeyError)

    assert app.opened[0].committed == ["Ignore"]


def test_commit_on_does_not_commit_an_interrupted_statement() -> None:
    """An exception of ``commit_on`` that struck in a statement rolls back, and is the one that is seen."""
    app = fake()

    class SoftLimit(Exception):  # noqa: N818 -- Celery's name
        pass

    @with_db(app.handle, commit_on=(SoftLimit,))
    def work(db: FakeConnection) -> None:
        db.execute("INSERT")
        db.taskconn_session.interrupt = "SoftLimit"
        raise SoftLimit

    with pytest.raises(SoftLimit):
        work()

    assert (app.opened[0].committed, app.opened[0].is_open) == ([], False)
