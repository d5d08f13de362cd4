from __future__ import annotations

import gc

import pytest

import taskconn
from taskconn import Registry, _registry
from taskconn._entries import Entry
from taskconn.driver import Driver, Target
from taskconn.errors import InvalidSettingsError, NotConfiguredError, UnknownAliasError, UnknownOptionError
from taskconn.options import Options
from taskconn.testing import FakeConnection, FakeDriver
from tests.support.core import Fake, fake

pytestmark = pytest.mark.portable


class App:
    """Stands for the app of a task system."""


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Give an empty registry in the place of the process's."""
    registry = Registry(below=_registry.environment)
    for module in ("taskconn", "taskconn._registry"):
        monkeypatch.setattr(f"{module}.process_registry", registry)
    return registry


def use(handle: taskconn.Handle[FakeConnection]) -> FakeConnection:
    """Lease, and give the connection that was leased."""
    with taskconn.lease(handle) as db:
        return db


def address(registry: Registry, alias: str = "default") -> str:
    """Say where the registry connects to."""
    return registry.pool(alias).target().address


# -- precedence ------------------------------------------------------------------------------------------------------


def test_explicit_settings_win_over_the_task_systems_and_those_over_the_environment(
    process: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alias is looked up from the explicit settings down to the environment, by itself."""
    monkeypatch.setenv("TASKCONN_URL", "redis://environment")
    monkeypatch.setenv("TASKCONN_CACHE_URL", "redis://environment")
    monkeypatch.setenv("TASKCONN_LOGS_URL", "redis://environment")

    process.use_settings({"default": "redis://settings", "cache": "redis://settings"})
    taskconn.configure({"default": "redis://explicit"})

    assert address(process) == "explicit"
    assert address(process, "cache") == "settings"
    assert address(process, "logs") == "environment"
    assert process.aliases() == ["default", "cache", "logs"]


def test_entries_are_replaced_never_merged(process: Registry) -> None:
    """An explicit entry says all of its alias: nothing of a lower one shines through."""
    process.use_settings({"default": {"url": "redis://settings", "max_age": 60}})

    taskconn.configure({"default": "redis://explicit"})

    assert process.pool("default").options.max_age == 1800


def test_app_has_layers_of_its_own(process: Registry) -> None:
    """For an app: its explicit entries, the process's, its settings; another app sees nothing of them."""
    app, other = App(), App()
    registry = Registry(above=process, below=_registry.environment)
    _registry.install(app, registry)
    registry.use_settings({"default": "redis://settings", "cache": "redis://settings", "logs": "redis://settings"})

    taskconn.configure({"default": "redis://process", "cache": "redis://process"})
    taskconn.configure({"default": "redis://app"}, app=app)
    taskconn.configure({"default": "redis://other"}, app=other)

    assert [address(registry, alias) for alias in ("default", "cache", "logs")] == ["app", "process", "settings"]
    found = _registry.installed(other)
    assert found is not None
    assert address(found) == "other"
    assert registry.pool("cache") is process.pool("cache"), "one pool for what both share"


def test_outside_of_tasks_the_one_installed_app_counts(process: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease outside of tasks looks into the app if there is one, and into the process if there are several."""
    monkeypatch.setattr(_registry, "_installed", type(_registry._installed)())
    app, copy, other = App(), App(), App()
    registry = Registry(above=process)

    assert _registry.default_registry() is process
    _registry.install(app, registry)
    _registry.install(copy, registry)
    assert _registry.default_registry() is registry, "two copies of one app are one"
    _registry.install(other, Registry())
    assert _registry.default_registry() is process
    del app, copy
    gc.collect()
    assert _registry.default_registry() is not process


def test_settings_that_are_gone_are_unknown(process: Registry) -> None:
    """Settings of a task system are taken over as a whole: an alias that they leave out is gone."""
    process.use_settings({"default": "redis://settings", "cache": "redis://settings"})

    process.use_settings({"default": "redis://settings"})

    with pytest.raises(UnknownAliasError, match="configured are: default"):
        process.pool("cache")


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


def test_app_follows_the_process(process: Registry) -> None:
    """An explicit entry of the process replaces what an app had from its settings, while it runs."""
    registry = Registry(above=process)
    registry.use_settings({"default": "redis://settings"})
    before = registry.pool("default")

    process.add("default", "redis://process")

    assert before.is_retired
    assert address(registry) == "process"


def test_settings_of_an_app_alone_leave_the_processes_pool(process: Registry) -> None:
    """An app that gets settings of its own stops using the process's pool, which keeps its connections for others."""
    driver, app = FakeDriver(), App()
    handle = process.add("default", driver)
    registry = Registry(above=process)
    _registry.install(app, registry)
    db = use(registry.handle("default"))

    taskconn.configure({"default": "redis://app"}, app=app)

    assert address(registry) == "app"
    assert use(handle) is db
    assert driver.opened == [db]


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
