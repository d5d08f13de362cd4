"""Where a socket was opened: noted for the socket, not for its number, and told as the line of the user's."""

from __future__ import annotations

import _socket
import _thread
import socket
import sys
import time
import types
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskconn._guard import _origins, _stacks
from taskconn._sockets import Socket
from tests.guard.modules import write_module

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lists descriptors")


def test_descriptor_used_again_is_another_socket(opened: ExitStack, peer: tuple[str, int]) -> None:
    """A number that was closed and given to another socket has no origin of the old one."""
    _origins.begin()
    client = socket.create_connection(peer)
    fd, old = client.fileno(), Socket.of(client.fileno())
    assert old is not None
    assert _origins.origin_of(old) is not None
    client.close()

    pair = socket.socketpair()
    for end in pair:
        opened.enter_context(end)

    new = next(end for end in (Socket.of(one.fileno()) for one in pair) if end is not None and end.fd == fd)
    assert _origins.origin_of(new) is None


def test_bare_socket_in_c_has_an_origin_too(opened: ExitStack, peer: tuple[str, int]) -> None:
    """Objects that can't be held weakly, as those below gevent's, are noted all the same."""
    _origins.begin()
    bare = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    opened.callback(bare.close)

    bare.connect(peer)

    identity = Socket.of(bare.fileno())
    assert identity is not None
    origin = _origins.origin_of(identity)
    assert origin is not None
    assert origin.socket is None or origin.socket() is bare
    assert str(_stacks.explain(origin.stack).place).endswith("in test_bare_socket_in_c_has_an_origin_too")


def test_socket_connected_by_a_thread_without_python_has_no_line(opened: ExitStack, peer: tuple[str, int]) -> None:
    """`connect` may be called by no Python function at all, as a thread's own: it connects, and has no line."""
    _origins.begin()
    client = opened.enter_context(socket.socket())

    _thread.start_new_thread(client.connect, (peer,))

    for _ in range(500):
        try:
            assert client.getpeername() == peer
            break
        except OSError:
            time.sleep(0.01)
    socket_ = Socket.of(client.fileno())
    assert socket_ is not None
    origin = _origins.origin_of(socket_)
    assert origin is not None
    assert origin.stack == ()


def test_users_line_is_found_behind_libraries_and_imports(tmp_path: Path) -> None:
    """The user's line is the innermost one of no installed package; whose line it has called is told beside it."""
    packages = tmp_path / "site-packages"
    acme = write_module(packages / "acme" / "client.py", "def connect(client, take):\n    return client(take)\n")
    client = write_module(packages / "pymysql" / "connections.py", "def connect(take):\n    return take()\n")
    user = write_module(tmp_path / "shop.py", "def work(acme, client, take):\n\n    return acme(client, take)\n")

    stack = user.work(acme.connect, client.connect, lambda: _stacks.take(sys._getframe(1)))
    opening = _stacks.explain(stack)

    assert (opening.kind, opening.owner) == ("MySQL", "acme")
    assert opening.place == _stacks.Place(str(tmp_path / "shop.py"), 3, "work")
    assert opening.by == _stacks.Place(acme.__file__, 2, "connect")


def test_stack_keeps_nothing_alive() -> None:
    """A stack that is kept holds code, no frames and no variables."""

    class Big:
        pass

    def call() -> _stacks.Stack:
        big = Big()
        assert big
        return _stacks.take(sys._getframe())

    stack = call()

    assert all(isinstance(code, types.CodeType) and isinstance(place, int) for code, place in stack)
