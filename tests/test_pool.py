from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator

import pytest

import taskconn
from taskconn import _fitness, _opening, _pace, _pool
from taskconn._pool import Pool
from taskconn.errors import AcquireTimeoutError, ConnectionFailedError
from taskconn.testing import FakeConnection
from tests.support.core import Fake, WiredConnection, WiredDriver, fake

pytestmark = pytest.mark.portable


class Clock:
    """The pools' clock, which only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now + 0.0  # a new object each time, as `time.monotonic` gives


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock of all pools."""
    clock = Clock()
    for module in (_pool, _opening):
        monkeypatch.setattr(module, "_monotonic", clock)
    return clock


def use(app: Fake) -> FakeConnection:
    """Lease, and give the connection that was leased."""
    with app.lease() as db:
        return db


# -- age and health --------------------------------------------------------------------------------------------------


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


# -- number ----------------------------------------------------------------------------------------------------------


def test_timeout_says_who_holds_the_connections_and_for_how_long(clock: Clock) -> None:
    """Who waits in vain learns the functions, or the lines, that hold the connections, and since when."""
    app = fake(max_size=2, acquire_timeout=0)
    refused: list[AcquireTimeoutError] = []

    @taskconn.with_db(app.handle)
    def pay_invoice(db: FakeConnection) -> None:
        def wait_in_vain() -> None:
            with pytest.raises(AcquireTimeoutError, match="Raise `max_size`") as caught:
                app.lease().begin(None)
            refused.append(caught.value)

        clock.now += 3.2
        thread = threading.Thread(target=wait_in_vain)
        thread.start()
        thread.join()

    lease = app.lease()
    holder = threading.Thread(target=lambda: lease.begin(None))
    holder.start()
    holder.join()
    clock.now += 1
    pay_invoice()
    lease.succeed()

    (error,) = refused
    assert (error.alias, error.max_size) == ("default", 2)
    assert "pay_invoice for 3.2 s" in error.holders
    assert f"lease ({__file__.rsplit('test_', maxsplit=1)[0]}support" in error.holders
    assert ") for 4.2 s" in error.holders
    assert app.stats()["waits"] == 1


def test_failed_open_leaves_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open that failed takes no place: the next one may try again."""
    monkeypatch.setattr(_pace, "_share", lambda: 0.0)  # without a pause
    app = fake(max_size=1)
    app.driver.is_refusing = True

    for _ in range(3):
        with pytest.raises(ConnectionFailedError, match="server is up and reachable") as caught:
            app.lease().begin(None)
    app.driver.is_refusing = False
    use(app)

    assert caught.value.reason == "the fake server refuses"
    assert (app.stats()["failed_opens"], app.stats()["opens"]) == (3, 1)


def test_password_is_not_in_the_error() -> None:
    """What the driver says of a failed open is repeated without the password."""
    app = fake(url="mysql://app:s3cret@db/shop")

    def refuse(*_: object) -> None:
        raise app.driver.errors[0]("Access denied for app, s3cret")  # type: ignore[index]

    app.driver.open = refuse  # type: ignore[method-assign,assignment]

    with pytest.raises(ConnectionFailedError, match=r"Access denied for app, \*\*\*"):
        use(app)


def test_pool_says_what_it_holds() -> None:
    """A pool's repr tells alias, process and numbers."""
    app = fake()

    with app.lease():
        inside = repr(app.pool)
    (member,) = app.pool.members()

    assert inside.endswith("0 idle, 1 leased>")
    assert repr(app.pool).endswith("1 idle, 0 leased>")
    assert "idle" in repr(member)


def test_warm_opens_one() -> None:
    """Warming up opens one connection, and none where there is one."""
    app = fake()

    app.pool.warm()
    app.pool.warm()

    assert len(app.opened) == 1
    assert app.stats()["leased"] == 0


def test_closing_spares_leased_connections() -> None:
    """`close` says goodbye to idle connections and proxies', and leaves alone what a lease holds, a proxy's too."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT")
    conn.commit()

    with app.lease() as db:
        app.registry.close()
        db.execute("INSERT")
    assert db.committed == ["INSERT", "INSERT"]
    app.registry.close()

    assert (db.calls[-1], app.stats()["open"]) == ("close", 0)


def test_connection_given_back_to_a_retired_pool_is_closed() -> None:
    """A pool whose alias was replaced while it was giving back keeps nothing."""
    app = fake()
    pool = app.pool
    pooled = pool.acquire("test")

    class Retiring(list[object]):
        def __bool__(self) -> bool:
            pool.retire()  # another thread, just after the connection is back
            pool.idle_again = list(pool._idle)  # type: ignore[attr-defined]
            return False

    pool._waiters = Retiring()  # type: ignore[assignment]
    pool.give_back(pooled)

    assert pool.members() == []


def test_options_none_are_no_limit() -> None:
    """Without ``max_size`` a process may open as many as it needs, unless it said how many tasks run at once."""
    app = fake()

    def limit(pool: Pool[FakeConnection]) -> int | None:
        return pool.max_size

    assert limit(app.pool) is None
    _pool.set_concurrency(3)
    try:
        assert limit(app.pool) == 3
    finally:
        _pool.set_concurrency(None)
