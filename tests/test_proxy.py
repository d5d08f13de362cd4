"""A proxy stands for its connection: opened when it is first used, never shared with a lease, a task or a child."""

from __future__ import annotations

import contextlib
import os

import pytest

import taskconn
from taskconn import Registry
from taskconn._context import TaskContext
from taskconn._proxy import Proxy
from taskconn.errors import NotConfiguredError, UnsettledProxyError
from taskconn.testing import FakeConnection, FakeDriver, in_forked_child
from tests.support.core import Fake, fake, task

pytestmark = pytest.mark.portable
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


class SQLConnection(FakeConnection):
    """A fake that can do what users do with connections of PEP 249."""

    def cursor(self) -> str:
        return f"cursor of {self.number}"

    def __enter__(self) -> SQLConnection:
        self.calls.append("enter")
        return self

    def __exit__(self, *details: object) -> None:
        self.calls.append("exit")

    def __getitem__(self, key: str) -> str:
        return key.upper()

    def __contains__(self, key: str) -> bool:
        return key == "there"


class SQLDriver(FakeDriver):
    """Open `SQLConnection` objects."""

    connection_type = SQLConnection

    def open(self, target: object, timeout_s: float) -> FakeConnection:
        connection = super().open(target, timeout_s)  # type: ignore[arg-type]
        connection.__class__ = SQLConnection
        return connection


@pytest.fixture
def sql() -> Fake:
    """Give an alias whose connections do what those of PEP 249 do."""
    return Fake(SQLDriver())


def test_proxy_opens_when_first_used() -> None:
    """A module global opens nothing: the connection is opened by the first use, and kept."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    assert app.opened == []

    conn.execute("INSERT")
    conn.execute("INSERT")
    conn.commit()

    assert [db.committed for db in app.opened] == [["INSERT", "INSERT"]]


def test_proxy_needs_no_settings_before_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a proxy, and looking at its class, work in a module that is imported before the settings are there."""
    monkeypatch.setattr("taskconn._context.default_registry", Registry)
    conn = taskconn.proxy()

    assert isinstance(conn, Proxy)
    assert repr(conn) == "<taskconn.proxy 'default'>"
    with pytest.raises(NotConfiguredError, match=r"taskconn\.configure"):
        conn.cursor()


def test_proxy_passes_for_its_connection(sql: Fake) -> None:
    """isinstance, methods, ``with conn:``, items and attributes work through the proxy."""
    conn = taskconn.proxy(sql.handle)

    assert isinstance(conn, SQLConnection)
    assert sql.opened == [], "its class is known without opening"
    assert conn.cursor() == "cursor of 1"
    with conn as entered:
        assert entered is conn
    conn.fails_on = {"never"}
    (db,) = sql.opened
    assert db.fails_on == {"never"}
    del conn.fails_on
    assert not hasattr(db, "fails_on")
    assert (conn["a"], "there" in conn, "cursor" in dir(conn)) == ("A", True, True)
    assert db.calls == ["enter", "exit"]


def test_lease_takes_a_clean_proxy_over() -> None:
    """A lease in the same thread uses the proxy's connection, which is the proxy's again afterwards."""
    app = fake(max_size=1)
    conn = taskconn.proxy(app.handle)
    conn.execute("SELECT")
    conn.commit()

    with app.lease() as db:
        conn.execute("INSERT")
        assert conn.number == db.number
    conn.execute("UPDATE")
    conn.commit()

    assert app.opened == [db]
    assert db.committed == ["SELECT", "INSERT", "UPDATE"]


def test_lease_refuses_an_open_transaction() -> None:
    """A lease would settle work that it did not do."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT")

    with pytest.raises(UnsettledProxyError, match=r"Write `conn.commit\(\)`"), app.lease():
        pass
    conn.rollback()
    with app.lease():
        pass

    assert len(app.opened) == 1


def test_nested_task_does_not_reach_the_outer_tasks_connection(tasks: list[TaskContext]) -> None:
    """Neither proxy nor lease of a nested task shares what a lease of the outer task took over from the proxy."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("SELECT")
    conn.commit()

    with task(tasks), app.lease() as outer:
        with task(tasks):
            with app.lease() as inner:
                assert inner is not outer
            outer.execute("INSERT")
            conn.execute("nested")
            conn.commit()
        assert outer.committed == ["SELECT"]

    assert outer.committed == ["SELECT", "INSERT"]
    with app.lease() as again, task(tasks), app.lease() as other:
        assert again is not other


def test_connection_that_died_is_replaced() -> None:
    """A proxy whose connection was closed by hand opens another one."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.close()

    conn.execute("INSERT")

    assert len(app.opened) == 2


def test_proxy_follows_new_settings() -> None:
    """An alias that is configured anew is reached by the proxies that there are; the old connection is closed."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT")
    conn.commit()
    other = FakeDriver()

    app.registry.add("default", other)
    conn.execute("INSERT")

    assert app.opened[0].calls[-1] == "close"
    assert other.opened[0].calls == ["INSERT"]


def test_open_transaction_ends_where_it_began_before_new_settings_count() -> None:
    """The second half of a transaction is not committed without the first, over a connection by other settings."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT 1")
    second, third = FakeDriver(), FakeDriver()

    app.registry.add("default", second)
    conn.execute("INSERT 2")
    app.registry.add("default", third)
    conn.execute("INSERT 3")
    conn.commit()
    conn.execute("INSERT 4")

    assert app.opened[0].calls == ["INSERT 1", "INSERT 2", "INSERT 3", "commit", "close"]
    assert (second.opened, [db.calls for db in third.opened]) == ([], [["INSERT 4"]])


def test_lease_refuses_an_open_transaction_by_settings_that_were_replaced() -> None:
    """As one by the same settings: the task would otherwise not see what its thread has just written."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT")
    other = FakeDriver()
    app.registry.add("default", other)

    with pytest.raises(UnsettledProxyError, match=r"conn\.commit\(\)"):
        app.lease().begin(None)
    conn.rollback()
    with app.lease() as db:
        pass

    assert app.opened[0].calls == ["INSERT", "rollback", "close"]
    assert other.opened == [db]


@needs_fork
def test_proxy_survives_a_fork() -> None:
    """A global that was used before the fork reaches a connection of the child's own, and the parent's goes on."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    conn.execute("INSERT")

    def child() -> tuple[bool, list[str]]:
        conn.execute("CHILD")
        conn.commit()
        return conn.taskconn_session.owner_pid == os.getpid(), conn.committed

    assert in_forked_child(child) == (True, ["CHILD"])
    conn.commit()
    assert app.opened[0].committed == ["INSERT"]


@needs_fork
def test_block_of_a_proxy_is_left_in_silence_by_a_child(sql: Fake) -> None:
    """A ``with conn:`` around a fork is ended by the parent alone."""
    conn = taskconn.proxy(sql.handle)

    def leave() -> list[str]:
        stack.close()
        return sql.opened[0].calls

    with contextlib.ExitStack() as stack:
        stack.enter_context(conn)
        assert in_forked_child(leave) == ["enter"]

    assert sql.opened[0].calls == ["enter", "exit"]
