"""A connection is looked at, asked or replaced before it is handed out: by its age, its socket, the fate of others."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest

from taskconn import _fitness
from taskconn._settle import roll_back
from taskconn.testing import FakeConnection, FakeError
from tests.support.clocks import Clock, Stage
from tests.support.core import Fake, WiredConnection, WiredDriver, fake, use

pytestmark = pytest.mark.portable

#: What MySQL says where it takes no writes.
READ_ONLY = FakeError(1290, "The MySQL server is running with the --read-only option")


def test_fresh_connection_is_not_looked_at(clock: Clock) -> None:
    """Used less than half a second ago, a connection is handed out unseen."""
    app = fake(health_check_interval=0.5)
    db = use(app)

    clock.now += 0.4
    use(app)

    assert db.calls == []


def test_connection_is_asked_after_its_interval(clock: Clock) -> None:
    """A round trip is spent on a connection that was unused for ``health_check_interval``, and not before."""
    app = fake(health_check_interval=30)
    db = use(app)

    clock.now += 29
    use(app)
    assert db.calls == []
    clock.now += 31
    use(app)

    assert db.calls == ["ping"]
    assert app.stats()["health_checks"] == 1


def test_short_interval_is_kept() -> None:
    """``health_check_interval=0`` asks before every lease, the half second notwithstanding."""
    app = fake(health_check_interval=0)

    db = use(app)
    use(app)

    assert db.calls == ["ping"]


def test_connection_that_does_not_answer_is_replaced(clock: Clock) -> None:
    """A dead connection is dropped before the task sees it."""
    app = fake()
    db = use(app)
    db.is_alive = False

    clock.now += 31
    other = use(app)

    assert other is not db
    assert (db.is_open, db.calls) == (False, ["ping"])
    assert app.stats()["invalidations"] == 1


def test_old_connection_is_replaced(clock: Clock) -> None:
    """A connection older than ``max_age`` is closed politely when it is next taken."""
    app = fake(max_age=100, jitter=0)
    db = use(app)

    clock.now += 99
    assert use(app) is db
    clock.now += 1
    other = use(app)

    assert other is not db
    assert db.calls[-1] == "close"
    assert app.stats()["recycles"] == 1


def test_jitter_shortens_the_age(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """``jitter`` is the part of ``max_age`` by which a connection may go earlier, at random."""
    app = fake(max_age=100, jitter=0.5)
    monkeypatch.setattr(random, "random", lambda: 1.0)
    db = use(app)

    clock.now += 49
    assert use(app) is db
    clock.now += 1

    assert use(app) is not db


def test_age_zero_gives_each_lease_a_new_connection() -> None:
    """``max_age=0`` replaces the connection at every lease, and opens one for each."""
    app = fake(max_age=0)

    connections = [use(app) for _ in range(3)]

    assert len(set(map(id, connections))) == 3
    assert (app.stats()["opens"], app.stats()["closes"]) == (3, 2)


def test_idle_connection_is_replaced(clock: Clock) -> None:
    """A connection unused for longer than ``max_idle`` is closed when it is next taken; use keeps it."""
    app = fake(max_idle=10)
    db = use(app)

    for _ in range(3):
        clock.now += 9
        with app.lease() as same:
            same.execute("INSERT")
        assert same is db
    clock.now += 11

    assert use(app) is not db


def test_lease_that_says_nothing_proves_nothing(clock: Clock) -> None:
    """Only a statement, or a health check, makes a connection younger: the server has not heard of the other leases."""
    app = fake(health_check_interval=10)
    db = use(app)

    for _ in range(6):
        clock.now += 2
        assert use(app) is db

    assert db.calls == ["ping"]


def test_short_idle_time_is_kept(clock: Clock) -> None:
    """A ``max_idle`` below half a second holds as well."""
    app = fake(max_idle=0.1)
    db = use(app)

    clock.now += 0.2

    assert use(app) is not db


def test_recycled_connections_go_at_their_next_use() -> None:
    """`recycle` replaces idle connections at their next use, and leased ones after it."""
    app = fake()
    with app.lease() as db:
        app.registry.recycle("default")
        db.execute("INSERT")

    other = use(app)

    assert db.committed == ["INSERT"]
    assert other is not db
    assert db.calls[-1] == "close"


@pytest.fixture
def wired() -> Iterator[Fake]:
    """Give an alias over real sockets."""
    app = Fake(WiredDriver())
    yield app
    for connection in app.opened:
        assert isinstance(connection, WiredConnection)
        connection.socket.close()
        connection.server.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no poll")
def test_connection_whose_peer_has_gone_is_replaced(clock: Clock, wired: Fake) -> None:
    """A look at the socket, without a round trip, shows that the server has closed it."""
    db = use(wired)
    assert isinstance(db, WiredConnection)
    db.server.close()

    clock.now += 1

    assert use(wired) is not db
    assert (wired.stats()["invalidations"], wired.stats()["taints"]) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no poll")
def test_connection_with_a_stale_reply_is_replaced(clock: Clock, wired: Fake) -> None:
    """Unread bytes on an idle connection would answer the next task's question: it is dropped as tainted."""
    db = use(wired)
    assert isinstance(db, WiredConnection)
    db.server.sendall(b"late")

    clock.now += 1

    assert use(wired) is not db
    assert wired.stats()["taints"] == 1


def test_look_at_a_connection_says_what_is_wrong() -> None:
    """Each reading of `examine` has one consequence, which its text tells."""
    names = ["FIT", "EXPIRED", "BROKEN", "TAINTED", "SILENT", "STRANGE"]
    assert [reading.name for reading in _fitness.Fitness] == names


def test_loss_of_one_has_the_others_asked() -> None:
    """When one connection is lost, the others of its alias are asked before their next use, however fresh they are."""
    app = fake()
    lost, dead, alive = [app.pool.acquire("a test") for _ in range(3)]
    for pooled in (dead, alive):
        app.pool.give_back(pooled)
    lost.connection.is_open = dead.connection.is_alive = False

    roll_back(app.pool, lost, 1)
    taken = [app.pool.acquire("a test").connection for _ in range(2)]

    assert taken == [alive.connection, app.opened[3]]
    assert [pooled.connection.calls.count("ping") for pooled in (alive, dead)] == [1, 1]


def test_silent_server_is_not_asked_on_each_connection() -> None:
    """Where the server did not answer in time, the other connections are replaced unasked: a lease waits once."""
    app = fake(health_check_interval=0)
    silent, other = (app.pool.acquire("a test") for _ in range(2))
    app.pool.give_back(other)
    app.pool.give_back(silent)
    silent.connection.is_alive = other.connection.is_alive = False

    db = use(app)

    assert db is app.opened[2]
    assert ("ping" in silent.connection.calls, "ping" in other.connection.calls) == (True, False)


def test_writes_refused_by_a_demoted_primary_renew_the_connections(stage: Stage) -> None:
    """After a fail-over old connections stay on a server that takes no writes: they are replaced, once."""
    app = fake()
    use(app)

    used = [_fail(app, READ_ONLY).number for _ in range(3)]
    stage.now += 61
    used += [_fail(app, READ_ONLY).number, use(app).number]

    assert used == [1, 2, 2, 2, 3]


def _fail(app: Fake, error: BaseException) -> FakeConnection:
    lease = app.lease()
    db = lease.begin(None)
    db.execute("UPDATE car SET price = 1")
    lease.fail(error)
    return db
