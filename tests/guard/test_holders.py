"""What holds a connection, and in which line it got there."""

from __future__ import annotations

import socket
import sys
import types
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskconn._guard import _bindings, _holders
from tests.guard.modules import write_module

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lists descriptors")

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
    module = write_module(tmp_path / "shop.py", _HOLDING)
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
    module = write_module(tmp_path / "shop.py", source)
    monkeypatch.setitem(sys.modules, "shop", module)
    sock = opened.enter_context(socket.socket())
    module.sock = sock
    roots = [root for root in _holders.users_roots() if root.name.startswith("shop.")]

    assert _holders.find([sock.fileno()], roots)[sock.fileno()].name == "shop.sock"


def test_search_goes_on_behind_what_can_not_be_looked_at(
    opened: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class that can't be hashed, and a lazy module that fails as it is looked at, hide nothing else."""
    source = """
class Meta(type):
    def __eq__(cls, other):
        return cls is other

class Odd(metaclass=Meta):
    pass

odd = [Odd()]
"""
    module = write_module(tmp_path / "shop.py", source)

    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise ImportError(name)

    monkeypatch.setitem(sys.modules, "a_lazy_one", Lazy("a_lazy_one"))
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
    module = write_module(tmp_path / "shop.py", source, run=False)

    assert str(_bindings.of_module(module, ("conn",))).endswith("shop.py:6 in <module>")
    assert str(_bindings.of_module(module, ("C", "kept"))).endswith("shop.py:10 in C")
    assert _bindings.of_module(module, ("imported",)) is None
