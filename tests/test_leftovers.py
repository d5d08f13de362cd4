from __future__ import annotations

import threading
import time

import pytest

import taskconn
from taskconn import _leftovers
from taskconn._context import TaskContext
from taskconn._lease import Lease
from taskconn._registry import Handle
from taskconn.testing import FakeConnection, FakeDriver

pytestmark = pytest.mark.portable


@pytest.fixture
def driver() -> FakeDriver:
    """Give a fake driver."""
    return FakeDriver()


@pytest.fixture
def registry() -> taskconn.Registry:
    """Give a registry of the test's own."""
    return taskconn.Registry()


@pytest.fixture
def handle(driver: FakeDriver, registry: taskconn.Registry) -> Handle[FakeConnection]:
    """Give the alias `default` of that driver."""
    return registry.add("default", driver, close_timeout=0.1)


def _task() -> TaskContext:
    return TaskContext(key=object(), system="test", task_id="1", name="job")


def test_what_a_task_sent_by_proxy_before_new_settings_is_rolled_back(
    driver: FakeDriver, registry: taskconn.Registry, handle: Handle[FakeConnection]
) -> None:
    """The next task in the same process would commit it, although its alias leads elsewhere by now."""
    conn = taskconn.proxy(handle)
    conn.execute("INSERT")
    registry.add("default", FakeDriver())
    registry.pool("default")

    _leftovers.roll_back_leftovers("job 1")

    (connection,) = driver.opened
    assert connection.calls == ["INSERT", "rollback", "close"]


def test_lease_that_a_task_left_open_is_rolled_back_and_said(
    driver: FakeDriver, handle: Handle[FakeConnection], caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is the next task's again, and carries nothing of this one."""
    Lease(handle, "job").begin(_task()).execute("INSERT")

    _leftovers.roll_back_leftovers("job 1")

    (connection,) = driver.opened
    assert connection.calls == ["INSERT", "rollback"]
    assert "job 1 left a lease open, which is rolled back" in caplog.text
    with taskconn.lease(handle) as db:
        assert db is connection


def test_lease_outside_of_tasks_stays(driver: FakeDriver, handle: Handle[FakeConnection]) -> None:
    """What a module took when it was imported is not the task's to lose."""
    with taskconn.lease(handle) as db:
        db.execute("INSERT")

        _leftovers.roll_back_leftovers("job 1")

    assert driver.opened[0].committed == ["INSERT"]


def test_what_a_proxy_never_committed_is_rolled_back(driver: FakeDriver, handle: Handle[FakeConnection]) -> None:
    """The proxy keeps its connection, clean."""
    conn = taskconn.proxy(handle)
    conn.execute("INSERT")

    _leftovers.roll_back_leftovers("job 1")
    conn.execute("UPDATE")
    conn.commit()

    (connection,) = driver.opened
    assert connection.committed == ["UPDATE"]


def test_nothing_left_costs_nothing(driver: FakeDriver, handle: Handle[FakeConnection]) -> None:
    """A task that cleaned up after itself is not asked again."""
    taskconn.proxy(handle).execute("INSERT")
    taskconn.proxy(handle).commit()
    calls = list(driver.opened[0].calls)

    _leftovers.roll_back_leftovers("job 1")

    assert driver.opened[0].calls == calls


def test_only_what_is_unused_is_closed(
    driver: FakeDriver, handle: Handle[FakeConnection], registry: taskconn.Registry
) -> None:
    """Before a fork: idle connections and a settled proxy's are closed, open leases and transactions stay."""
    other = registry.add("other", driver)
    third = registry.add("third", driver)
    taskconn.proxy(handle).execute("INSERT")
    taskconn.proxy(third).execute("INSERT")
    taskconn.proxy(third).commit()

    with taskconn.lease(other):
        _leftovers.close_unused()

        assert [connection.is_open for connection in driver.opened] == [True, False, True]
    taskconn.proxy(handle).rollback()


def test_end_of_the_process_closes_what_is_leased_too(driver: FakeDriver, handle: Handle[FakeConnection]) -> None:
    """Nobody else will end it: it is rolled back, and the server gets its goodbye."""
    Lease(handle, "import").begin(None).execute("INSERT")

    _leftovers.end_process()

    (connection,) = driver.opened
    assert connection.calls == ["INSERT", "rollback", "close"]
    assert not connection.is_open


def test_goodbye_that_hangs_is_cut_short(registry: taskconn.Registry) -> None:
    """A thread does what the caller asks for when a client does not keep to its `close_timeout`."""
    given_up = threading.Event()

    class Hanging(FakeDriver):
        def close(self, connection: FakeConnection, timeout_s: float) -> None:
            given_up.wait(30)
            super().close(connection, timeout_s)

    with taskconn.lease(registry.add("hanging", Hanging(), close_timeout=0.1)):
        pass
    started = time.monotonic()

    _leftovers.end_process(or_else=given_up.set)

    assert given_up.is_set()
    assert time.monotonic() - started < 10
