"""Whose settings of an alias win: those said explicitly, of the task system, of the app, or of the environment."""

from __future__ import annotations

import gc

import pytest

import taskconn
from taskconn import Registry, _registry
from taskconn.errors import UnknownAliasError
from taskconn.testing import FakeDriver
from tests.support.core import App, address, use

pytestmark = pytest.mark.portable


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
