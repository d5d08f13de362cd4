"""The guard's parts by themselves: which sockets are clients, whose line opened them, what holds them."""

from __future__ import annotations

import _socket
import os
import re
import socket
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskconn._guard import _bindings, _clients, _holders, _origins, _stacks
from taskconn._guard._clients import Scanner
from taskconn._guard._libraries import kind_by_address
from taskconn._sockets import Socket
from tests.support.process import Script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lists descriptors")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Give a stack that closes sockets."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def peer(opened: ExitStack) -> tuple[str, int]:
    """Give the address of a server in another process's place: its listening socket is not ours to see."""
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    address: tuple[str, int] = server.getsockname()
    child = os.fork()
    if child == 0:
        try:
            while True:
                server.accept()
        finally:
            os._exit(0)
    opened.callback(os.waitpid, child, 0)
    opened.callback(os.kill, child, 9)
    server.close()
    return address


def found(scanner: Scanner) -> set[int]:
    """Give the descriptors of the clients."""
    return {client.socket.fd for client in scanner.clients()}


def test_connected_stream_is_a_client_with_its_peers_address(opened: ExitStack, peer: tuple[str, int]) -> None:
    """A stream that is connected is a client; its address is the server's."""
    before = found(Scanner())
    client = opened.enter_context(socket.create_connection(peer))

    (new,) = [one for one in Scanner().clients() if one.socket.fd not in before]

    assert new.socket == Socket.of(client.fileno())
    assert new.address == f"127.0.0.1:{peer[1]}"
    assert new.is_private


def test_other_sockets_are_no_clients(opened: ExitStack, tmp_path: Path) -> None:
    """What listens, what came in there, a pair, a datagram socket, an unconnected one: none of them is a client."""
    before = found(Scanner())
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    opened.enter_context(socket.create_connection(server.getsockname()))
    accepted = opened.enter_context(server.accept()[0])
    for end in socket.socketpair():
        opened.enter_context(end)
    datagrams = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    datagrams.connect(server.getsockname())
    unconnected = opened.enter_context(socket.socket())

    new = found(Scanner()) - before

    assert {server.fileno(), accepted.fileno(), datagrams.fileno(), unconnected.fileno()} & new == set()
    assert len(new) == 1, "the client's own end"


def test_socket_closed_while_it_is_looked_at_is_no_client(
    opened: ExitStack, peer: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may close a descriptor at any moment of a look: that is no error."""
    client = opened.enter_context(socket.create_connection(peer))
    descriptor, listening_ports = client.fileno(), _clients._listening_ports

    def close_meanwhile() -> frozenset[int]:
        client.close()
        return listening_ports()

    monkeypatch.setattr(_clients, "_listening_ports", close_meanwhile)

    assert descriptor not in found(Scanner())


def test_socket_that_connects_later_becomes_a_client(opened: ExitStack, peer: tuple[str, int]) -> None:
    """A socket is asked again for as long as it is not connected."""
    scanner = Scanner()
    client = opened.enter_context(socket.socket())
    assert client.fileno() not in found(scanner)

    client.connect(peer)

    assert client.fileno() in found(scanner)


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


def test_users_line_is_found_behind_libraries_and_imports(tmp_path: Path) -> None:
    """The user's line is the innermost one of no installed package; whose line it has called is told beside it."""
    packages = tmp_path / "site-packages"
    acme = _module(packages / "acme" / "client.py", "def connect(client, take):\n    return client(take)\n")
    client = _module(packages / "pymysql" / "connections.py", "def connect(take):\n    return take()\n")
    user = _module(tmp_path / "shop.py", "def work(acme, client, take):\n\n    return acme(client, take)\n")

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


_HOLDING = """
import contextvars, functools, socket

def make(sock):
    def in_closure():
        return sock
    return in_closure

def fill(socks):
    global plain, in_closure, in_default, var, listed, instance
    plain = socks[0]
    in_closure = make(socks[1])
    def in_default(sock=socks[2]):
        return sock
    globals()["in_default"] = in_default
    var = contextvars.ContextVar("current")
    var.set(socks[3])
    Holder.kept = socks[4]
    listed = [{"deep": (socks[5],)}]
    instance = Holder()
    instance.own = functools.partial(print, socks[6])

class Holder:
    kept = None
"""


def test_holders_are_found_wherever_users_keep_things(
    opened: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable, a closure, a default argument, a context variable, a class, a container, an object: each is named."""
    module = _module(tmp_path / "shop.py", _HOLDING)
    monkeypatch.setitem(sys.modules, "shop", module)
    socks = [opened.enter_context(socket.socket()) for _ in range(7)]
    names = [f"shop.{name}" for name in ("plain", "in_closure", "in_default", "var", "Holder", "listed", "instance")]
    module.fill(socks)
    roots = [root for root in _holders.users_roots() if root.name.startswith("shop.")]

    holders = _holders.find([sock.fileno() for sock in socks], roots)

    said = [holders[sock.fileno()].name for sock in socks]
    assert said[0] == "shop.plain"
    assert said[1].startswith("a closure of shop.make.<locals>.in_closure")
    assert said[2].startswith("a default argument of shop.in_default")
    assert said[3].startswith("context variable 'current'")
    assert said[4] == "shop.Holder.kept"
    assert said[5:] == names[5:]


def test_search_resolves_no_proxies(opened: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are looked into as they are: nothing that answers to attributes is asked for any."""
    source = (
        "class Proxy:\n    def __getattribute__(self, name):\n        raise RuntimeError(name)\n\nproxy = Proxy()\n"
    )
    module = _module(tmp_path / "shop.py", source)
    monkeypatch.setitem(sys.modules, "shop", module)
    sock = opened.enter_context(socket.socket())
    module.sock = sock
    roots = [root for root in _holders.users_roots() if root.name.startswith("shop.")]

    assert _holders.find([sock.fileno()], roots)[sock.fileno()].name == "shop.sock"


def test_line_of_a_variable_is_where_it_got_its_value(tmp_path: Path) -> None:
    """The last statement that binds a name is its line, in blocks and classes, too; an import is none."""
    source = (
        "from other import imported\n\ntry:\n    conn = 1\nexcept E:\n    conn = 2\n\n\nclass C:\n    kept: int = 3\n"
    )
    module = _module(tmp_path / "shop.py", source, run=False)

    assert str(_bindings.of_module(module, ("conn",))).endswith("shop.py:6 in <module>")
    assert str(_bindings.of_module(module, ("C", "kept"))).endswith("shop.py:10 in C")
    assert _bindings.of_module(module, ("imported",)) is None


@pytest.mark.parametrize(
    ("peer_name", "kind"),
    [
        (("127.0.0.1", 3306), "MySQL"),
        (("::1", 5432, 0, 0), "PostgreSQL"),
        (("10.0.0.1", 4711), ""),
        ("/run/mysqld/mysqld.sock", "MySQL"),
        ("/run/postgresql/.s.PGSQL.5432", "PostgreSQL"),
        (b"\0bus", ""),
    ],
    ids=["mysql", "postgresql6", "unknown", "mysql-socket", "postgresql-socket", "abstract"],
)
def test_kind_is_guessed_by_the_address_where_nothing_else_tells(peer_name: object, kind: str) -> None:
    """Well-known ports and paths name a kind of server; others do not."""
    assert kind_by_address(peer_name) == kind


#: A fork by C code that runs Python's hooks: there is no audit event that could refuse it.
_C_FORK = """
import ctypes, os, socket, sys, taskconn
taskconn.guard("raise")
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
libc, api = ctypes.CDLL(None), ctypes.PyDLL(None)
api.PyOS_BeforeFork()
child = libc.fork()
if child == 0:
    api.PyOS_AfterFork_Child()
    os._exit(0)
api.PyOS_AfterFork_Parent()
os.waitpid(child, 0)
print("forked")
"""

#: Children that fork again, as those of a pool of workers do.
_TWO_LEVELS = """
import os, socket, sys, taskconn
taskconn.guard("warn")
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for _ in range(2):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
"""


def test_fork_by_c_code_is_reported_only(script: Callable[..., Script], peer: tuple[str, int]) -> None:
    """Where C code forks by itself nothing can refuse it: mode `raise` reports."""
    output = script(_C_FORK, str(peer[1])).succeed()

    assert re.search(r"forks with an open unknown connection to .*, opened at <string>:4 in <module>", output)
    assert "forked" in output


def test_children_do_not_repeat_what_their_parent_has_reported(
    script: Callable[..., Script], peer: tuple[str, int]
) -> None:
    """Each connection is reported once, by the process that forked with it first."""
    output = script(_TWO_LEVELS, str(peer[1])).succeed()

    assert output.count("forks with an open") == 1


def _module(path: Path, source: str, *, run: bool = True) -> types.ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    if run:
        exec(compile(source, str(path), "exec"), vars(module))
    return module
