from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from taskconn import _shield
from taskconn._shield import Shield
from taskconn.testing import FakeConnection, FakeDriver, FakeError
from tests.support.core import Fake, fake, task_system
from tests.support.process import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these signals")


class Limit(Exception):  # noqa: N818 -- a limit, as task systems throw it
    """What the handlers of these tests raise."""


def throw(number: int, frame: object) -> None:
    """Handle a signal as a task system's limit does."""
    raise Limit(number)


@pytest.fixture
def handled() -> Iterator[Callable[..., None]]:
    """Give a function that sets a handler for signals; what was there before is put back."""
    saved: dict[int, object] = {}

    def handle(handler: Callable[[int, object], None], *numbers: int) -> None:
        for number in numbers:
            saved[number] = signal.signal(number, handler)

    yield handle
    for number, handler in saved.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


class SignallingDriver(FakeDriver):
    """A driver whose COMMIT is struck by signals."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = numbers

    def commit(self, connection: FakeConnection, timeout_s: float) -> None:
        for number in self.numbers:
            signal.raise_signal(number)
        super().commit(connection, timeout_s)


def work(app: Fake, *, fails: bool = False) -> None:
    """Run one unit of work, whose COMMIT fails or not."""
    with app.lease() as db:
        db.fails_on = {"commit"} if fails else set()
        db.execute("INSERT")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGALRM])
def test_limit_during_a_commit_that_succeeded_is_dropped_and_logged(
    number: int, handled: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """A soft limit or a timeout that came too late does not call a task failed whose work is committed."""
    app = Fake(SignallingDriver(number))
    handled(throw, number)

    with caplog.at_level(logging.WARNING, logger="taskconn"):
        work(app)

    assert app.opened[0].committed == ["INSERT"]
    assert "(Limit) came during a COMMIT that succeeded" in caplog.text
    assert signal.getsignal(number) is throw


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGALRM])
def test_handler_of_a_users_own_is_called_for_the_signal_of_a_limit(
    number: int, handled: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Who uses SIGALRM or SIGUSR1 for something else hears it after the COMMIT; only what it raises is dropped."""
    called: list[int] = []
    handled(lambda number, _frame: called.append(number), number)

    work(Fake(SignallingDriver(number)))

    assert called == [number]
    assert "dropped" not in caplog.text


class LateDriver(FakeDriver):
    """A driver whose connection is struck when it has committed, as what no shield holds back may strike."""

    def restore(self, connection: FakeConnection) -> None:
        raise Limit("late")


def test_limit_between_the_commit_and_its_end_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Thrown from another thread, or while the shield is taken down, a limit is as pointless as one it held back."""
    app = Fake(LateDriver())

    with task_system(Limit), caplog.at_level(logging.WARNING, logger="taskconn"):
        work(app)

    assert app.opened[0].committed == ["INSERT"]
    assert "(Limit) came during a COMMIT that succeeded" in caplog.text
    assert app.stats()["leased"] == 0


def test_terminating_signal_is_delivered_right_after(handled: Callable[..., None]) -> None:
    """SIGTERM during a COMMIT waits: the work is committed, and the connection given back, before it raises."""
    app = Fake(SignallingDriver(signal.SIGTERM))
    seen: list[tuple[list[str], int]] = []

    def terminate(number: int, frame: object) -> None:
        seen.append((list(app.opened[0].committed), app.stats()["leased"]))
        raise SystemExit(number)

    handled(terminate, signal.SIGTERM)
    with pytest.raises(SystemExit):
        work(app)

    assert seen == [(["INSERT"], 0)]
    assert (app.stats()["open"], app.opened[0].is_open) == (1, True)


def test_handlers_are_back_though_one_of_them_strikes_between_two(
    handled: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that is in its place again may be called, and raise, before the next is set: it is set, too."""
    set_handler, struck = _shield._signal.signal, []

    def strike_first(number: int, handler: object) -> object:  # Python hears signals before it sets a handler
        if number == signal.SIGUSR2 and handler is throw and not struck:
            struck.append(number)
            raise Limit(number)
        return set_handler(number, handler)

    handled(throw, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    monkeypatch.setattr(_shield._signal, "signal", strike_first)

    with pytest.raises(Limit, match=str(int(signal.SIGUSR2))), Shield("default"):
        pass

    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)] == [throw] * 3


def test_every_handler_is_called_though_one_raises(handled: Callable[..., None]) -> None:
    """Of several signals held back each gets to its handler, whatever the others raise."""
    app = Fake(SignallingDriver(signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP))
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        throw(number, frame)

    handled(note, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
    with pytest.raises(Limit):
        work(app)

    assert seen == [signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP]


def test_failure_of_the_commit_delivers_the_limit(handled: Callable[..., None]) -> None:
    """A limit that came during a COMMIT that failed is a limit: the task has not done its work."""
    app = Fake(SignallingDriver(signal.SIGUSR1))
    handled(throw, signal.SIGUSR1)

    with pytest.raises(Limit) as caught:
        work(app, fails=True)

    assert isinstance(caught.value.__context__, FakeError)
    assert app.opened[0].committed == []


def test_handlers_are_put_back(handled: Callable[..., None]) -> None:
    """Handlers of users, and signals that are ignored or have none, are as they were."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
    handled(throw, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]

    work(fake())

    assert [signal.getsignal(number) for number in numbers] == before


def test_signal_while_the_shield_goes_up_is_not_lost(handled: Callable[..., None]) -> None:
    """What was caught while handlers were still being swapped is delivered, though another handler raised meanwhile."""
    seen: list[int] = []
    handled(lambda number, _: seen.append(number), signal.SIGUSR1)
    handled(throw, signal.SIGTERM)
    shield = Shield("default")
    shield._saved = [(signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))]
    signal.signal(signal.SIGUSR1, shield._catch)
    signal.raise_signal(signal.SIGUSR1)
    assert seen == []

    shield._end()

    assert seen == [signal.SIGUSR1]


def test_other_threads_have_nothing_to_hold_back(handled: Callable[..., None]) -> None:
    """Python runs handlers in the main thread alone; a commit in another one swaps none."""
    handled(throw, signal.SIGUSR1)
    seen: list[object] = []

    def in_thread() -> None:
        with Shield("default"):
            seen.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()

    assert seen == [throw]


GREENLETS = """
import signal
import greenlet
from taskconn import _shield
from taskconn._shield import Shield

def throw(number, frame): ...
signal.signal(signal.SIGTERM, throw)
main = greenlet.getcurrent()

def commit():
    with Shield("default"):
        main.switch()

first, second = greenlet.greenlet(commit), greenlet.greenlet(commit)
first.switch()
second.switch()
first.switch()
second.switch()
assert signal.getsignal(signal.SIGTERM) is throw, "a greenlet has put back another one's"
"""


def test_greenlets_leave_the_handlers_alone() -> None:
    """Commits of two greenlets overlap; were handlers swapped, the worker could not be stopped any more."""
    done = subprocess.run([sys.executable, "-c", GREENLETS], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
