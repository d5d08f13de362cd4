"""A server that is down is tried again in measured steps: by one thread, after a pause, at a rate."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import pytest

from taskconn._pace import Pace
from taskconn.errors import ConnectionFailedError
from taskconn.options import Options
from taskconn.testing import FakeConnection
from tests.support.clocks import Stage
from tests.support.core import fake, refused, use

pytestmark = pytest.mark.portable

#: Long enough that only a hang reaches it, in seconds.
_LONG_S = 60.0


def test_after_a_failure_others_fail_at_once(stage: Stage) -> None:
    """Until the pause after a failed try is over, the server is not asked, and the error says so."""
    app = fake()
    app.driver.is_refusing = True
    first = refused(app)
    app.driver.is_refusing = False

    second = refused(app)
    stage.now += 0.1
    with app.lease():
        pass

    assert (first.tries, first.reason) == (1, "the fake server refuses")
    assert second.tries == 0
    assert second.reason == "the last try failed 0.0 s ago, the next is made in 0.1 s: the fake server refuses"
    assert (app.stats()["failed_opens"], app.stats()["opens"]) == (1, 1)


def test_pauses_grow_up_to_a_second(stage: Stage) -> None:
    """The longest pause doubles with each failure, from 0.1 s to 1 s, and a success ends it."""
    pace, longest_s = Pace(Options()), []
    for _ in range(6):
        pace.failed("no")
        longest_s.append(round(pace._paused_until - stage.now, 3))
    pace.succeeded()
    pace.failed("no")

    assert longest_s == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert round(pace._paused_until - stage.now, 3) == 0.1


def test_pause_is_drawn_at_random(stage: Stage) -> None:
    """The pause is any share of the longest one, so that processes that fail together do not try together."""
    stage.share = 0.25
    pace = Pace(Options())

    pace.failed("no")

    assert pace._paused_until - stage.now == pytest.approx(0.025)


def test_after_a_loss_the_pause_is_as_long_as_the_spread(stage: Stage) -> None:
    """A process that had a connection and can't get another comes back within ``reconnect_spread``."""
    app = fake(reconnect_spread=7.0, health_check_interval=0)
    with app.lease() as db:
        db.execute("SELECT 1")
    app.opened[0].is_alive = False
    app.driver.is_refusing = True

    refused(app)
    again = refused(app)

    assert "the next is made in 7.0 s" in again.reason


def test_one_thread_tries_and_the_others_fail_meanwhile(stage: Stage) -> None:
    """Half open: after the pause one thread tries, and others that ask while it does are refused at once."""
    app = fake()
    app.driver.is_refusing = True
    refused(app)
    stage.now += 1.0
    arrived, may_go_on = threading.Event(), threading.Event()
    open_it = app.driver.open
    app.driver.is_refusing = False

    def slow(*arguments: object) -> FakeConnection:
        arrived.set()
        assert may_go_on.wait(_LONG_S)
        return open_it(*arguments)  # type: ignore[arg-type]

    app.driver.open = slow  # type: ignore[method-assign]
    tries = _in_thread(lambda: use(app))
    assert arrived.wait(_LONG_S)

    error = refused(app)
    may_go_on.set()
    tries.join(_LONG_S)
    use(app)

    assert error.tries == 0
    assert "and the next is under way" in error.reason
    assert app.stats()["opens"] == 1


def test_waiting_thread_hears_at_once_that_the_server_is_back(stage: Stage) -> None:
    """With tries left, a lease that waits for another thread's try goes on as soon as that has succeeded."""
    pace = Pace(Options(connect_retry=1))
    pace.failed("no")
    stage.now += 1.0
    assert pace.enter(stage.now, is_patient=True) == ""
    answers: list[str] = []
    waits = _in_thread(lambda: answers.append(pace.enter(stage.now + _LONG_S, is_patient=True)))
    _wait_until(lambda: bool(pace._changed._waiters))  # type: ignore[attr-defined]

    pace.succeeded()
    waits.join(_LONG_S)

    assert answers == [""]


def test_interrupted_try_leaves_the_turn_to_the_next(stage: Stage) -> None:
    """An interrupt during a try says nothing of the server: the next lease tries."""
    app = fake()
    app.driver.is_refusing = True
    refused(app)
    stage.now += 1.0
    open_it = app.driver.open

    def interrupted(*_: object) -> FakeConnection:
        raise KeyboardInterrupt

    app.driver.open = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        app.lease().begin(None)
    app.driver.is_refusing = False
    app.driver.open = open_it  # type: ignore[method-assign]

    use(app)

    assert app.stats()["opens"] == 1


def _in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def _wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    ends_at = time.monotonic() + _LONG_S
    while not is_true():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


def test_interrupt_at_any_step_leaves_the_turn_to_the_next() -> None:
    """A limit that strikes while a connection is opened holds no lock for ever."""
    steps = 0

    def enter(strikes_at: int) -> bool:
        nonlocal steps
        steps = 0
        pace = Pace(Options(connect_retry=1))
        pace.failed("no server")

        def trace(_: object, event: str, __: object) -> object:
            nonlocal steps
            steps += event in ("call", "return")  # where Python hears signals, and a line may not have ended
            if event != "line" and steps == strikes_at:
                raise KeyboardInterrupt
            return trace

        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            pace.enter(time.monotonic() + 30, is_patient=False)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(previous)
        return not pace._lock.locked()

    assert enter(-1)
    assert steps > 2
    assert all(enter(step) for step in range(1, steps + 1))


def test_connects_keep_to_their_rate() -> None:
    """No more than ``max_connect_rate`` connects per second, also where several threads want one."""
    app = fake(max_connect_rate=50)
    started = time.monotonic()

    threads = [_in_thread(lambda: app.pool.acquire("a test")) for _ in range(4)]
    for thread in threads:
        thread.join(_LONG_S)

    assert app.stats()["opens"] == 4
    assert time.monotonic() - started >= 3 / 50


def test_rate_that_leaves_no_room_is_an_error(stage: Stage) -> None:
    """A lease that would have to wait for longer than ``acquire_timeout`` says which option is the reason."""
    app = fake(max_connect_rate=0.1, acquire_timeout=1.0)
    kept = app.pool.acquire("a test")

    with pytest.raises(ConnectionFailedError, match=r"`max_connect_rate` leaves no room for a connect within 10\.0 s"):
        app.pool.acquire("a test")

    assert not kept.is_gone
