"""How many connections a pool has, who holds them, and what closing spares."""

from __future__ import annotations

import threading

import pytest

import taskconn
from taskconn import _pool
from taskconn._pool import Pool
from taskconn.errors import AcquireTimeoutError
from taskconn.testing import FakeConnection
from tests.support.clocks import Clock
from tests.support.core import fake

pytestmark = pytest.mark.portable


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
