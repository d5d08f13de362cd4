"""A registry knows aliases, opens nothing by itself, and says what is wrong; changes replace what is open."""

from __future__ import annotations

import pytest

import taskconn
from taskconn import Registry
from taskconn._entries import Entry
from taskconn.driver import Driver, Target
from taskconn.errors import InvalidSettingsError, NotConfiguredError, UnknownAliasError, UnknownOptionError
from taskconn.options import Options
from taskconn.testing import FakeDriver
from tests.support.core import Fake, address, fake, use

pytestmark = pytest.mark.portable


# -- messages --------------------------------------------------------------------------------------------------------


def test_unknown_alias_lists_what_there_is() -> None:
    """A misspelt alias gets the list and the nearest match."""
    app = fake()
    app.beside("orders")

    with pytest.raises(UnknownAliasError, match=r"configured are: default, orders(.|\n)*Did you mean 'orders'\?"):
        app.registry.handle("order")


def test_no_settings_at_all_is_said(process: Registry) -> None:
    """Without any settings the message says the three places to write them."""
    with pytest.raises(NotConfiguredError, match=r"taskconn\.configure(.|\n)*taskconn_databases(.|\n)*TASKCONN_URL"):
        process.pool("default")


def test_wrong_settings_change_nothing(process: Registry) -> None:
    """All aliases are parsed before the first is taken over."""
    with pytest.raises(UnknownOptionError, match="Did you mean 'max_age'"):
        taskconn.configure({"cache": "redis://cache", "default": {"url": "redis://db", "max_agee": 1}})
    with pytest.raises(InvalidSettingsError, match="1 or more"):
        process.add("default", "redis://db", max_size=0)

    assert process.aliases() == []


def test_registry_says_its_aliases() -> None:
    """The repr of registry and handle tell names, never an URL."""
    app = fake(url="mysql://app:s3cret@db/shop")

    assert repr(app.registry) == "<Registry default>"
    assert repr(app.handle) == "<Handle 'default'>"
    assert repr(Registry()) == "<Registry without aliases>"


# -- change ----------------------------------------------------------------------------------------------------------


def test_same_settings_again_change_nothing() -> None:
    """Configuring the same once more keeps pool and connection."""
    app = fake(max_age=60)
    db = use(app.handle)

    app.registry.add("default", app.driver, max_age=60)

    assert use(app.handle) is db


def test_old_connections_close_when_their_leases_end() -> None:
    """Other settings close what is idle at once, what is leased when its lease ends; handles follow."""
    app = fake()
    lease, other = app.lease(), FakeDriver()
    idle_lease = app.lease()
    leased = lease.begin(None)
    with taskconn.lease(app.beside("cache").handle):
        pass
    idle_lease.begin(None)
    idle_lease.succeed()

    app.registry.add("default", other)

    leased.execute("INSERT")
    assert leased.is_open
    assert use(app.handle) is other.opened[0]
    lease.succeed()
    assert leased.calls == ["INSERT", "commit", "close"]


def test_settings_that_come_while_the_first_lease_begins_count() -> None:
    """A thread that is about to use an alias for the first time does not bring back what another has replaced."""
    registry, other = Registry(), FakeDriver()

    class SlowToImport:
        """Settings whose driver takes its time; meanwhile another thread configures the alias anew."""

        options = Options()

        def driver_class(self) -> type[FakeDriver]:
            registry.add("default", other)
            return FakeDriver

        def target(self) -> Target:
            raise NotImplementedError

    registry._explicit["default"] = Entry(SlowToImport())

    assert use(registry.handle("default")) is other.opened[0]
    assert use(registry.handle("default")) is other.opened[0]


def test_alias_that_goes_while_the_first_lease_begins_is_unknown(process: Registry) -> None:
    """Settings that a task system withdraws in that moment are not used once more."""

    class SlowToImport:
        """Settings whose driver takes its time; meanwhile they are withdrawn."""

        options = Options()

        def driver_class(self) -> type[FakeDriver]:
            process.use_settings({"cache": "redis://cache"})
            return FakeDriver

        def target(self) -> Target:
            raise NotImplementedError

    process._settings["default"] = Entry(SlowToImport())

    for _ in range(2):
        with pytest.raises(UnknownAliasError, match="configured are: cache"):
            process.pool("default")


def test_handles_are_equal_by_registry_and_alias() -> None:
    """A handle names one alias of one registry."""
    app, other = fake(), fake()

    assert app.registry.handle("default") == app.handle
    assert len({app.handle, app.registry.handle("default"), other.handle}) == 2


def test_building_a_registry_opens_nothing() -> None:
    """Adding an alias, naming it and checking it open no connection."""
    app = fake()

    app.registry.handle("default")
    app.registry.check()

    assert app.opened == []
    assert app.registry.stats()["default"]["opens"] == 0


def test_registry_of_a_user_knows_its_own_entries_only(process: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that was made by hand looks nowhere else."""
    monkeypatch.setenv("TASKCONN_URL", "redis://environment")
    taskconn.configure({"default": "redis://process"})

    with pytest.raises(NotConfiguredError, match=r"taskconn\.configure"):
        Registry().pool("default")


def test_connection_of_a_fake_url() -> None:
    """A driver object needs no URL; one that is given is where its target leads to."""
    plain, placed = fake(), Fake(options={"url": "mysql://db:3307/shop"})

    assert address(plain.registry) == "fakedriver"
    assert address(placed.registry) == "db:3307"


# -- what a driver lacks ---------------------------------------------------------------------------------------------


class NoReset(FakeDriver):
    """A driver whose author has not written `reset`."""

    reset = Driver.reset


def test_reset_that_the_driver_lacks_is_refused() -> None:
    """``reset=True`` would clear nothing; a callable of the user's, and False, are no business of the driver's."""
    registry = Registry()

    with pytest.raises(InvalidSettingsError, match=r"'orders'(.|\n)*NoReset can't reset a session(.|\n)*reset=clean"):
        registry.add("orders", NoReset(), reset=True)

    assert registry.aliases() == []
    use(registry.add("orders", NoReset(), reset=lambda _: None))
    use(registry.add("others", NoReset()))
