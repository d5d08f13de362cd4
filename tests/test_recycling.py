"""Connections are replaced when somebody asks for it: of one alias, or of all processes of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import taskconn
from taskconn.errors import NotConfiguredError, UnknownAliasError
from taskconn.testing import FakeConnection, FakeDriver
from tests.support.core import Fake, fake
from tests.support.process import ROOT

portable = pytest.mark.portable


def _use(app: Fake) -> FakeConnection:
    with app.lease() as db:
        db.execute("SELECT 1")
        return db


@pytest.fixture
def shop() -> Iterator[Fake]:
    """Give the alias ``shop`` of the process's registry."""
    app = Fake(FakeDriver(), taskconn._registry.process_registry, "shop")
    yield app
    app.registry._explicit.pop("shop")
    app.registry._pools.pop("shop", None)


@portable
def test_alias_is_recycled_by_its_name(shop: Fake) -> None:
    """By its name, an alias is recycled wherever it stands: idle connections at their next use."""
    first = _use(shop)

    taskconn.recycle("shop")

    assert first.is_open
    assert _use(shop) is not first
    assert first.calls[-1] == "close"


@portable
def test_leased_connection_is_recycled_after_its_lease() -> None:
    """A lease keeps its connection; the next one gets another."""
    app = fake()
    with app.lease() as first:
        taskconn.recycle(app.handle)
        assert first.is_open

    assert _use(app) is not first


@portable
def test_unknown_alias_is_named() -> None:
    """A slip of the pen recycles nothing, and says so."""
    with pytest.raises((UnknownAliasError, NotConfiguredError), match="shoop"):
        taskconn.recycle("shoop")


@portable
def test_all_aliases_are_recycled_at_once() -> None:
    """`recycle_all` replaces the connections of every alias, after their next lease at the latest."""
    app = fake()
    other = app.beside("other")
    before = {_use(app), _use(other)}

    taskconn.recycle_all()
    for one in (app, other):
        _use(one)
    after = {_use(app), _use(other)}

    assert not before & after
    assert {_use(app), _use(other)} == after


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_children_are_recycled_too() -> None:
    """What an ancestor asks for reaches the processes forked before, and the other way round."""
    program = """
import os, socket
import taskconn
from tests.support.core import fake
app = fake()
def use():
    with app.lease() as db:
        db.execute("SELECT 1")
        return db
ours, theirs = socket.socketpair()
pid = os.fork()
if pid == 0:
    first = use()
    theirs.sendall(b"1")
    assert theirs.recv(1) == b"2"
    use()
    assert use() is not first
    taskconn.recycle_all()
    os._exit(0)
first = use()
assert ours.recv(1) == b"1"
taskconn.recycle_all()
use()
second = use()
assert second is not first
ours.sendall(b"2")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
use()
assert use() is not second
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
