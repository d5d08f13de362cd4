"""Looking at sockets again and again, and waiting for them; disarming stands in `test_process.py`."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from taskconn import _sockets
from taskconn._descriptors import Finder, peer_of
from taskconn._guard._clients import Scanner
from taskconn._sockets import Lookout, Peek, borrow, kind_of, port_of

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


def _find(fd: int) -> None:
    with Finder(1):
        pass
    peer_of(fd)


@pytest.mark.parametrize("has_flag", [True, False], ids=["Linux", "elsewhere"])
@pytest.mark.parametrize(
    "look",
    [lambda fd: borrow(fd).close(), port_of, _find, lambda _: Scanner().clients()],
    ids=["borrow", "port_of", "Finder", "guard"],
)
def test_looking_leaves_a_socket_blocking(
    look: Callable[[int], object], monkeypatch: pytest.MonkeyPatch, *, has_flag: bool
) -> None:
    """A program that has a default timeout for its sockets does not have its clients' made non-blocking."""
    if not has_flag:
        monkeypatch.setattr(_sockets, "_UNCHANGED", 0)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        socket.setdefaulttimeout(5)
        try:
            look(client.fileno())
        finally:
            socket.setdefaulttimeout(None)

        assert os.get_blocking(client.fileno())


def test_borrowed_socket_is_a_copy_of_the_same_kind() -> None:
    """Closing it leaves its owner's open; what it is, is asked of the system."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as owner:
        with contextlib.closing(borrow(owner.fileno())) as end:
            assert (end.family, kind_of(end)) == (socket.AF_INET, socket.SOCK_DGRAM)
            assert end.fileno() != owner.fileno()

        assert owner.getsockname()


def test_borrowing_what_is_no_socket_leaves_nothing_open() -> None:
    """The copy is closed with the error."""
    with open(os.devnull) as file:  # noqa: PTH123 -- a descriptor is what is wanted
        before = set(os.listdir("/dev/fd"))  # noqa: PTH208 -- as above
        with pytest.raises(OSError, match="socket"):
            borrow(file.fileno())

        assert set(os.listdir("/dev/fd")) == before  # noqa: PTH208 -- as above
