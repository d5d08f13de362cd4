"""Looking at sockets again and again, and waiting for them; disarming stands in `test_process.py`."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from taskconn._sockets import Lookout, Peek

pytestmark = pytest.mark.skipif(not hasattr(select, "poll"), reason="Windows has no poll(2)")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a connection."""
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_lookout_sees_silence_bytes_and_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    """The same lookout tells each time what is there now."""
    here, there = ends
    lookout = Lookout()

    assert (lookout.wait(here.fileno(), 0), lookout.peek(here.fileno())) == (False, Peek.QUIET)
    there.send(b"x")
    assert (lookout.wait(here.fileno(), None), lookout.peek(here.fileno())) == (True, Peek.READABLE)
    here.recv(1)
    assert (lookout.wait(here.fileno(), -1), lookout.peek(here.fileno())) == (False, Peek.QUIET)
    there.close()
    assert (lookout.wait(here.fileno(), 5), lookout.peek(here.fileno())) == (True, Peek.DEAD)


def test_lookout_follows_to_another_socket(ends: tuple[socket.socket, socket.socket]) -> None:
    """What was kept for one descriptor says nothing of another."""
    lookout = Lookout()
    assert lookout.peek(ends[0].fileno()) is Peek.QUIET

    here, there = socket.socketpair()
    with here, there:
        there.send(b"x")
        assert lookout.peek(here.fileno()) is Peek.READABLE
        assert lookout.peek(ends[0].fileno()) is Peek.QUIET


class _Cooperative:
    """Stand for gevent's poll object, which belongs to the thread that made it."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self._poller = _poll()

    def register(self, fd: int, events: int) -> None:
        self._poller.register(fd, events)

    def poll(self, timeout_ms: float | None) -> list[tuple[int, int]]:
        return self._poller.poll(timeout_ms)


_poll = getattr(select, "poll", None.__class__)


def test_lookout_keeps_no_poll_object_of_others(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was put in the place of Python's, also later on, is asked from then on, and made anew each time."""
    fd, lookout = ends[0].fileno(), Lookout()
    assert lookout.peek(fd) is Peek.QUIET
    monkeypatch.setattr(select, "poll", _Cooperative)

    assert (lookout.peek(fd), lookout.wait(fd, 0)) == (Peek.QUIET, False)
    assert _Cooperative.made == 2


def test_lookout_does_without_poll(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none (eventlet takes it away) it waits by ``select``."""
    here, there = ends
    lookout = Lookout()
    assert lookout.peek(here.fileno()) is Peek.QUIET
    monkeypatch.delattr(select, "poll")

    assert not lookout.wait(here.fileno(), 0)
    there.send(b"x")
    assert lookout.wait(here.fileno(), 5)
