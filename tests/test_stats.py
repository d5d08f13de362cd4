from __future__ import annotations

import contextlib

import pytest

import taskconn
from taskconn import _registry
from taskconn.telemetry import Counters
from tests.support.core import Fake, fake

pytestmark = pytest.mark.portable


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> tuple[Fake, Fake]:
    """Give two registries that both have the alias ``default``, and are all that there are."""
    pair = fake(), fake()
    monkeypatch.setattr(_registry, "registries", lambda: [app.registry for app in pair])
    return pair


def test_every_counter_is_there_from_the_beginning() -> None:
    """All counters are shown, at 0, before anything has happened."""
    app = fake()

    assert app.pool.stats() == dict.fromkeys((*Counters.NAMES, "open", "leased"), 0)


def test_what_happened_is_counted() -> None:
    """Opens, leases, commits, rollbacks and what is of this moment are counted per alias."""
    app = fake()

    for number in range(5):
        with contextlib.suppress(ZeroDivisionError), app.lease() as db:
            db.execute("INSERT")
            _ = 1 / (number // 2)
    with app.lease():
        inside = app.stats()

    assert inside | {"opens": 1, "leases": 5, "commits": 3, "rollbacks": 2, "open": 1, "leased": 1} == inside


def test_counts_of_closed_connections_stay() -> None:
    """What a connection has counted is kept when it is closed."""
    app = fake()
    with app.lease() as db:
        db.execute("INSERT")

    app.registry.close()

    assert app.stats() | {"leases": 1, "commits": 1, "closes": 1, "open": 0} == app.stats()


def test_alias_of_several_registries_is_added_up(apps: tuple[Fake, Fake]) -> None:
    """`taskconn.stats()` speaks of the process: one line per alias."""
    for app in apps:
        with app.lease():
            pass

    assert taskconn.stats()["default"]["leases"] == 2


def test_pool_of_two_registries_is_counted_once(apps: tuple[Fake, Fake]) -> None:
    """An app that borrows the process's pool adds nothing of its own."""
    first, second = apps
    second.registry._pools["default"] = first.pool
    with first.lease():
        pass

    assert taskconn.stats()["default"]["leases"] == 1
