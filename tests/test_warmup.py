from __future__ import annotations

import pytest

import taskconn
from taskconn._warmup import warm_up
from taskconn.testing import FakeDriver

pytestmark = pytest.mark.portable


def test_only_warm_aliases_are_opened() -> None:
    """`warm=True` asks for it; nothing else is opened before it is used."""
    registry, warm, cold = taskconn.Registry(), FakeDriver(), FakeDriver()
    registry.add("warm", warm, warm=True)
    registry.add("cold", cold)

    warm_up(registry)
    warm_up(registry)

    assert (len(warm.opened), len(cold.opened)) == (1, 0)


def test_named_aliases_are_opened_whatever_their_options() -> None:
    """A caller may ask for more than the options do."""
    registry, driver = taskconn.Registry(), FakeDriver()
    registry.add("cold", driver)

    warm_up(registry, ["cold"])

    assert len(driver.opened) == 1


def test_server_that_is_down_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A process starts although its database is down: the lease says it."""
    registry, driver = taskconn.Registry(), FakeDriver()
    driver.is_refusing = True
    registry.add("down", driver, warm=True)

    warm_up(registry)

    assert "connection 'down': opening it early in process" in caplog.text


def test_time_that_is_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What has not begun in time is left to the lease: a task waits."""
    registry, driver = taskconn.Registry(), FakeDriver()
    registry.add("late", driver, warm=True)

    warm_up(registry, within_s=0.0)

    assert driver.opened == []
    assert "connection 'late': no time to open it early" in caplog.text


def test_interrupt_passes() -> None:
    """A limit that strikes while a connection is opened is not swallowed."""
    registry = taskconn.Registry()

    class Interrupted(FakeDriver):
        def open(self, *_: object) -> None:  # type: ignore[override]
            raise KeyboardInterrupt

    registry.add("warm", Interrupted(), warm=True)

    with pytest.raises(KeyboardInterrupt):
        warm_up(registry)
