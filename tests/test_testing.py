"""`testing.override` and the fake driver, for users' tests."""

from __future__ import annotations

import os

import pytest

import taskconn
from taskconn import after_commit, testing
from taskconn.testing import FakeConnection, FakeError
from tests.support.core import fake

pytestmark = pytest.mark.portable


# -- override --------------------------------------------------------------------------------------------------------


def test_override_gives_the_tests_own_connection() -> None:
    """Leases, tasks and proxies of the alias have the test's object, whatever is configured; nothing is settled."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    given = FakeError("stands for any object")

    with testing.override("default", given) as yielded:
        with app.lease() as db, app.lease() as joined:
            assert yielded is db is joined is given
        assert isinstance(conn, FakeError)
        assert conn.args is given.args
    with app.lease() as after:
        assert isinstance(after, FakeConnection)

    assert len(app.opened) == 1


def test_override_needs_no_settings() -> None:
    """An alias that is configured nowhere can be overridden."""
    with testing.override("nowhere", "connection"), taskconn.lease("nowhere") as db:
        assert db == "connection"


def test_overrides_nest() -> None:
    """The innermost override counts, and the one around it again afterwards; a handle is as good as a name."""
    app = fake()

    with testing.override("default", 1):
        with testing.override(app.handle, 2), app.lease() as db:
            assert db == 2
        with app.lease() as db:
            assert db == 1


def test_override_runs_callbacks_and_lets_errors_pass() -> None:
    """With a connection of the test's the outcome of a lease is as ever."""
    seen: list[int] = []

    with testing.override("default", object()):
        with taskconn.lease():
            after_commit(seen.append, 1)
        with pytest.raises(KeyError), taskconn.lease():
            after_commit(seen.append, 2)
            raise KeyError

    assert seen == [1]


# -- the fake --------------------------------------------------------------------------------------------------------


def test_fake_keeps_what_it_was_asked() -> None:
    """A fake connection lists what was sent, and what a commit made durable."""
    app = fake()

    with app.lease() as db:
        db.execute("INSERT")

    assert (db.calls, db.committed) == (["INSERT", "commit"], ["INSERT"])
    assert repr(db) == f"<FakeConnection 1 of process {os.getpid()}>"


def test_fake_fails_as_it_is_told() -> None:
    """Words in ``fails_on`` raise the fake's error, and a driver that refuses opens nothing."""
    app = fake()

    with pytest.raises(FakeError, match="'DROP' was told to fail"), app.lease() as db:
        db.fails_on = {"DROP"}
        db.execute("DROP")
    app.driver.is_refusing = True
    with pytest.raises(FakeError, match="refuses"):
        app.driver.open(app.pool.target(), 1)

    assert db.calls == []
