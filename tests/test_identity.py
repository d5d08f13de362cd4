from __future__ import annotations

import logging
import os
from collections.abc import Callable

import pytest

from taskconn.errors import ConnectionFailedError, ConnectionIdentityError
from taskconn.testing import FakeConnection, FakeDriver, FakeError, in_forked_child
from tests.support.core import Fake, use
from tests.support.stopwatch import Stopwatch

pytestmark = pytest.mark.portable


class Server(FakeDriver):
    """A fake driver whose server tells which session answers."""

    def __init__(self, answer: Callable[[FakeConnection], str | None] = lambda db: str(db.number)) -> None:
        super().__init__()
        self.answer = answer
        self.asked = 0

    def ask_identity(self, connection: FakeConnection, timeout_s: float) -> str | None:
        self.asked += 1
        return self.answer(connection)


def app_of(server: Server, **options: object) -> Fake:
    """Make an alias over *server*."""
    return Fake(server, options=options)


def age(app: Fake) -> None:
    """Let a minute pass for what is idle."""
    for pooled in app.pool.members():
        pooled.used_at -= 60
        pooled.fresh_until -= 60


def test_first_connection_alone_is_asked_at_open() -> None:
    """That the server answers as the session of its handshake is found out once per alias."""
    server = Server()
    app = app_of(server)

    with app.lease():
        assert server.asked == 1
        app.pool.warm()
        app.pool.acquire("a test")

    assert len(app.opened) == 2
    assert server.asked == 1


def test_health_check_asks_for_the_session_instead_of_a_sign_of_life() -> None:
    """One round trip proves both."""
    server = Server()
    app = app_of(server)
    db = use(app)

    age(app)

    assert use(app) is db
    assert server.asked == 2
    assert "ping" not in db.calls


def test_connection_that_answers_as_another_session_is_replaced() -> None:
    """What somebody else uses too is dropped, without a word on it, and the next one is asked at open."""
    server = Server()
    app = app_of(server)
    db = use(app)
    server.answer = lambda asked: "77" if asked is db else str(asked.number)

    age(app)
    other = use(app)

    assert (other.number, db.is_open, "close" in db.calls) == (2, False, False)
    assert server.asked == 3
    assert app.stats()["invalidations"] == 1


def test_new_connection_that_answers_as_another_session_is_an_error() -> None:
    """Where the right session answered before, no pooler explains the wrong one."""
    server = Server()
    app = app_of(server)
    use(app)
    server.answer = lambda _: "77"

    age(app)
    with pytest.raises(
        ConnectionIdentityError, match=r"'default' was session 2 of its server and answers as session 77"
    ):
        use(app)

    assert not app.opened[1].is_open
    assert app.stats()["open"] == 0


def test_pooler_that_changes_sessions_switches_identity_and_reset_off(caplog: pytest.LogCaptureFixture) -> None:
    """Two answers that differ, right at open: one warning, and nothing is asked any more."""
    answers = iter(["77", "78"])
    server = Server(lambda _: next(answers))
    app = app_of(server, reset=True)

    with caplog.at_level(logging.WARNING, "taskconn"):
        with app.lease() as db:
            db.execute("work")
        app.pool.give_back(app.pool.acquire("a test"))
        age(app)
        use(app)

    (record,) = caplog.records
    assert record.getMessage() == (
        "connection 'default': a pooler stands in front of the server; it changes sessions between statements: "
        "identity checks and `reset` are off"
    )
    assert db.calls == ["work", "commit", "ping"]


def test_pooler_that_keeps_sessions_leaves_reset_on(caplog: pytest.LogCaptureFixture) -> None:
    """A handshake's id that the pooler made up says nothing, but the session behind it can be reset."""
    app = app_of(Server(lambda _: "77"), reset=True)

    with app.lease() as db:
        db.execute("work")
    age(app)
    use(app)

    assert "identity checks are off" in caplog.text
    assert db.calls == ["work", "commit", "reset", "ping"]


def test_server_that_can_not_be_asked_is_pinged() -> None:
    """An account may not be allowed to ask; then a sign of life has to do."""
    app = app_of(Server(lambda _: None))
    db = use(app)

    age(app)

    assert use(app) is db
    assert db.calls == ["ping"]


def test_silence_at_the_first_question_is_a_failed_open() -> None:
    """A server that logs us in and then says nothing is not connected to; nothing of it is left."""

    def fail(_: FakeConnection) -> str:
        raise FakeError("no answer")

    app = app_of(Server(fail))

    with pytest.raises(ConnectionFailedError, match="no answer"):
        use(app)

    assert not app.opened[0].is_open


def test_silent_server_is_asked_once_for_all_idle_connections() -> None:
    """One check takes half of ``connect_timeout``, the opening the rest; the other idle ones are not asked in turn."""
    waits: list[float] = []
    server = Server()
    app = app_of(server, connect_timeout=4)
    leases = [app.pool.acquire("a test") for _ in range(3)]
    for pooled in leases:
        app.pool.give_back(pooled)

    def fail(_: FakeConnection) -> str:
        raise FakeError("no answer")

    server.answer = fail
    server.ask_identity = lambda _, timeout_s: waits.append(timeout_s) or fail(_)  # type: ignore[method-assign, func-returns-value]
    server.open = lambda target, timeout_s, stock=server.open: (waits.append(timeout_s), stock(target, timeout_s))[1]  # type: ignore[method-assign, misc]
    age(app)
    watch = Stopwatch()
    use(app)

    assert waits == [2, 2]
    assert watch.seconds() < 1
    assert app.stats()["open"] == 1


@pytest.mark.parametrize("verb", ["commit", "rollback"])
def test_session_is_reset_after_a_task_that_settled_by_hand(verb: str) -> None:
    """Nothing is left to commit, but what the task did to the session is."""
    app = app_of(Server(), reset=True)

    with app.lease() as db:
        db.execute("work")
        getattr(db, verb)()

    assert db.calls == ["work", verb, "reset"]
    assert not app.driver.session(db).settled_by_hand


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_what_a_child_has_found_out_is_known_to_its_parent() -> None:
    """Each of many short-lived children would ask, and none of them has a second connection."""
    server = Server()
    app = app_of(server)
    assert app.pool.members() == []  # made before the forks, as a worker does that checks its settings

    asked = [in_forked_child(lambda: (use(app), server.asked)[1]) for _ in range(3)]

    use(app)
    assert (asked, server.asked) == ([1, 0, 0], 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_stranger_that_a_child_has_met_is_an_error_in_its_parent() -> None:
    """The right session has answered before, wherever that was: a wrong one is no pooler's."""
    server = Server()
    app = app_of(server)
    assert app.pool.members() == []  # made before the fork
    in_forked_child(lambda: use(app).number)
    server.answer = lambda _: "77"

    def meet() -> int:
        use(app)
        age(app)
        with pytest.raises(ConnectionIdentityError):
            use(app)
        return 1

    assert in_forked_child(meet) == 1
    with pytest.raises(ConnectionIdentityError, match="77"):
        use(app)
