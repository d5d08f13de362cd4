"""A lease that is held for too long is reported, with who took it; one that is forgotten is a `ResourceWarning`."""

from __future__ import annotations

import threading

import pytest

from taskconn import _leaks, _leftovers
from taskconn.errors import ConnectionFailedError
from tests.support.clocks import Clock
from tests.support.core import fake

pytestmark = pytest.mark.portable


def test_long_lease_is_reported_when_it_ends(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The report names alias, holder and time, and shows the stack that took the lease."""
    app = fake(leak_threshold=5.0)

    with app.lease():
        clock.now += 6.5

    (text,) = caplog.messages
    assert "connection 'default': held by " in text
    assert " for 6.5 s, longer than `leak_threshold` (5 s)" in text
    assert f'File "{__file__}"' in text
    assert "with app.lease():" in text


def test_short_lease_is_not_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Within the threshold nothing is said."""
    app = fake(leak_threshold=5.0)

    with app.lease():
        clock.now += 5.0

    assert caplog.messages == []


def test_long_lease_is_reported_by_the_next_acquire_and_not_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease that does not end is noticed when another one of the alias begins, and reported once."""
    app = fake(leak_threshold=5.0)
    lease = app.lease()
    lease.begin(None)
    clock.now += 6.0

    for _ in range(2):
        other = threading.Thread(target=lambda: app.lease().begin(None))
        other.start()
        other.join()
    lease.succeed()

    assert len(caplog.messages) == 1


def test_long_lease_is_reported_at_the_end_of_the_process(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """What is still held when the process ends has not been given back in time either."""
    app = fake(leak_threshold=5.0)
    app.lease().begin(None)
    clock.now += 6.0

    _leftovers.end_process()

    (text,) = caplog.messages
    assert text.startswith("connection 'default': held by ")


def test_long_lease_that_is_dropped_is_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is dropped at the lease's end was held for as long."""
    app = fake(leak_threshold=5.0)
    lease = app.lease()
    db = lease.begin(None)
    db.execute("UPDATE car SET price = 1")
    db.is_open = False
    clock.now += 6.0

    lease.fail(ValueError())

    assert len(caplog.messages) == 1


def test_alias_without_the_option_is_not_watched(clock: Clock) -> None:
    """Stacks are not recorded where nobody asked for them."""
    assert not isinstance(fake().pool, _leaks.WatchedPool)


def test_forgotten_connection_warns(clock: Clock) -> None:
    """A connection that is collected without having been given back is a `ResourceWarning` that names the holder."""
    app = fake()
    pooled = app.pool.acquire("shop.tasks.pay")
    clock.now += 1.0

    held = [pooled]
    del pooled

    with pytest.warns(ResourceWarning, match="connection 'default' was never given back; held by shop.tasks.pay for"):
        held.clear()

    assert app.stats()["open"] == 0


def test_failed_open_is_no_leak(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Without a connection nothing is held."""
    app = fake(leak_threshold=0.0)
    app.driver.is_refusing = True

    with pytest.raises(ConnectionFailedError, match="autoretry_for"):
        app.lease().begin(None)

    assert caplog.messages == []
