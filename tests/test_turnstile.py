from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

import taskconn
from taskconn._pooled import Pooled
from taskconn._process import owner
from taskconn._turnstile import Permit, Turnstile
from taskconn.driver import Session
from taskconn.telemetry import Counters
from taskconn.testing import FakeConnection, FakeDriver
from tests.support.core import fake
from tests.support.process import ROOT

pytestmark = pytest.mark.portable

#: Longest wait for what must come, in seconds.
LONG_S = 20.0


def pooled() -> Pooled[object]:
    """Make a member of no pool."""
    return Pooled(object(), Session(), owner(), 0.0, 0.0, 0.0)


def turnstile(limit: int = 1, size: Callable[[], int] = lambda: 0) -> Turnstile[object]:
    """Make a turnstile for *limit* connections."""
    return Turnstile(size, lambda: limit)


def until_waiting(turnstile: Turnstile[object], number: int) -> None:
    """Wait for *number* threads in the queue."""
    event = threading.Event()
    while len(turnstile.waiters) < number:
        event.wait(0.001)


class Entering(threading.Thread):
    """A thread that enters, and keeps what it was given."""

    def __init__(self, turnstile: Turnstile[object]) -> None:
        super().__init__(daemon=True)
        self.turnstile = turnstile
        self.got: Pooled[object] | Permit | None = None
        self.start()

    def run(self) -> None:
        self.got = self.turnstile.enter(LONG_S, Counters())


def test_first_come_is_served_first() -> None:
    """Connections that come back go to those who wait, in the order of their coming."""
    gate = turnstile()
    permit = gate.enter(0, Counters())
    threads = []
    for number in range(1, 4):
        threads.append(Entering(gate))
        until_waiting(gate, number)
    given = [pooled() for _ in threads]

    for one in given:
        gate.idle.append(one)
        gate.serve()
    for thread in threads:
        thread.join()

    assert isinstance(permit, Permit)
    assert [thread.got for thread in threads] == given


def test_room_goes_to_the_next() -> None:
    """An open that ended without a connection makes room for who waits."""
    gate = turnstile()
    permit = gate.enter(0, Counters())
    assert isinstance(permit, Permit)
    thread = Entering(gate)
    until_waiting(gate, 1)

    gate.opened(permit)
    thread.join()

    assert isinstance(thread.got, Permit)


def test_lost_permit_is_room_again() -> None:
    """A permit counts as long as it lives: an interrupt that loses it costs the pool nothing."""
    gate = turnstile()
    permit = gate.enter(0, Counters())
    with pytest.raises(TimeoutError):
        gate.enter(0, Counters())

    del permit
    gc.collect()

    assert isinstance(gate.enter(0, Counters()), Permit)


def test_interrupted_waiter_passes_on_what_it_was_handed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was handed to a waiter that an interrupt takes away goes to the next one."""
    gate = turnstile(limit=0)
    given = pooled()
    wait = threading.Event.wait

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is not threading.main_thread():
            return wait(event, timeout)
        gate.idle.append(given)
        gate.serve()
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gate.enter(LONG_S, Counters())

    assert list(gate.idle) == [given]
    assert not gate.waiters


def test_connection_that_comes_back_between_look_and_queue_is_seen() -> None:
    """A giver that looked at the queue just before the waiter entered it has not given in vain."""
    given = pooled()
    idle_at_last = [given]

    def limit() -> int:
        if idle_at_last:
            gate.idle.append(idle_at_last.pop())  # the waiter has seen no idle one; nobody waits yet
        return 0

    gate: Turnstile[object] = Turnstile(lambda: 0, limit)

    assert gate.enter(0, Counters()) is given


def test_serving_never_waits_for_the_lock() -> None:
    """A destructor that gives back while its own thread holds the lock does not block."""
    gate = turnstile(limit=0)
    thread = Entering(gate)
    until_waiting(gate, 1)

    with gate.lock:
        gate.idle.append(given := pooled())
        gate.serve()
    gate.serve()
    thread.join()

    assert thread.got is given


def test_threads_share_few_connections_and_lose_none() -> None:
    """Eight threads with 2,000 leases each over three connections: never two holders, never more open, all served."""
    app = fake(max_size=3, acquire_timeout=LONG_S)
    holders: dict[int, int] = {}
    problems: list[str] = []
    interval = sys.getswitchinterval()

    def work() -> None:
        mine = threading.get_ident()
        try:
            for number in range(2000):
                with app.lease() as db:
                    if holders.setdefault(db.number, mine) != mine:
                        problems.append("two holders")
                    if number % 50 == 0:
                        db.execute("INSERT")
                    if number % 501 == 0:
                        db.taskconn_session.closed_by_hand = True
                    if holders.pop(db.number) != mine:
                        problems.append("two holders")
        except BaseException as error:
            problems.append(repr(error))
            raise

    threads = [threading.Thread(target=work) for _ in range(8)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        peak = 0
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, len(app.pool.members()))
            threads[0].join(0.001)
    finally:
        sys.setswitchinterval(interval)

    assert problems == []
    assert peak <= 3
    assert app.stats()["leases"] == 16_000
    assert app.stats()["opens"] == app.stats()["closes"] + app.stats()["open"]


GEVENT = """
import sys
if sys.argv[1] == "patched":
    from gevent import monkey
    monkey.patch_all()
import gevent
from gevent.pool import Group
import taskconn
from taskconn import _shield
from taskconn.testing import FakeDriver

registry = taskconn.Registry()
driver = FakeDriver()
options = {"max_size": 3} if sys.argv[1] == "patched" else {}
handle = registry.add("default", driver, **options)
holders = {}
peak = 0

def work(number):
    global peak
    with taskconn.lease(handle) as db:
        assert holders.setdefault(db.number, number) == number, "shared by two greenlets"
        gevent.sleep(0)
        with taskconn.lease(handle) as inner:
            assert inner is db
        db.execute("INSERT")
        gevent.sleep(0.001)
        peak = max(peak, len(holders))
        assert holders.pop(db.number) == number

group = Group()
for round in range(3):
    for _ in group.imap_unordered(work, range(10)):
        pass
print(len(driver.opened), peak, registry.stats()["default"]["leased"])

# a proxy's connection comes back when its greenlet ends, although the greenlet also leased
def by_proxy():
    conn = taskconn.proxy(handle)
    conn.execute("INSERT")
    conn.commit()
    with taskconn.lease(handle):
        pass
    gevent.sleep(0)

for _ in range(5):
    gevent.spawn(by_proxy).get()
gevent.sleep(0)  # the last one ends
print(len(driver.opened), registry.stats()["default"]["leased"])
"""


@pytest.mark.parametrize(("mode", "opened"), [("patched", 3), ("plain", 10)])
def test_greenlets_reuse_connections_and_share_none(mode: str, opened: int) -> None:
    """Every task is a new greenlet: connections go from one to the next, and never to two at once."""
    done = subprocess.run(
        [sys.executable, "-c", GEVENT, mode], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(number) for number in (opened, opened, 0, opened, 0)]


def test_thread_that_leaves_gives_its_proxys_place_to_who_waits() -> None:
    """A lease that waits is served by the end of the thread whose proxy kept the only connection."""
    app = fake(max_size=1, acquire_timeout=LONG_S)
    kept, leave = threading.Event(), threading.Event()

    def keep() -> None:
        conn = taskconn.proxy(app.handle)
        conn.execute("INSERT")
        conn.commit()
        kept.set()
        leave.wait()

    def lease() -> None:
        with app.lease() as db:
            got.append(db)

    got: list[FakeConnection] = []
    threads = [threading.Thread(target=keep), threading.Thread(target=lease)]
    threads[0].start()
    kept.wait()
    threads[1].start()
    until_waiting(app.pool._turnstile, 1)  # type: ignore[arg-type]
    leave.set()
    for thread in threads:
        thread.join()

    assert got == app.opened
    assert len(app.opened) == 1
    assert isinstance(app.driver, FakeDriver)
