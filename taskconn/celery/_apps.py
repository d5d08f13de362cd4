"""Celery apps, and the registry that each app's tasks lease from. How settings are hidden stands in `_hiding.py`."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import celery.app.base
from celery import _state
from celery.app.utils import find_app

from .. import _process, _registry
from .._process import Owner, Socket
from .._registry import Registry, environment, process_registry
from ..config import Databases, parse_databases
from ._hiding import SETTING, Unreadable, hide, spellings

__all__ = [
    "SETTING",
    "adopt",
    "adopt_copy",
    "install",
    "load",
    "meet_new",
    "registry_of",
    "setting",
    "waiting",
    "watch",
]

log = logging.getLogger("taskconn")

#: What was seen of each app: the changes of its configuration, and the settings among them that were taken over.
_taken: weakref.WeakKeyDictionary[Any, tuple[Any, Databases | None]] = weakref.WeakKeyDictionary()

#: Apps that were seen before their configuration was read.
waiting: list[weakref.ref[Any]] = []


def install(app: Any, databases: Any) -> Registry:
    """Give *app* a registry, and *databases* as its setting; see `taskconn.celery.install`."""
    registry = _registry.installed(app)
    if registry is None:
        registry = _new_registry()
    if databases is not None:
        parse_databases(databases)  # raises before anything is changed
        app.conf[SETTING] = taken = Databases(databases)
        registry.use_settings(taken.raw)
    _registry.install(app, registry)
    if databases is None:
        _meet(app)
    return registry


def load(name: str) -> Any:
    """
    Find an app by *name*, as `celery -A` takes it, and import its task modules, as a worker does: they may configure.

    Raises:
        Exception: What the import raises.
    """
    app = find_app(name)
    app.loader.import_default_modules()
    return app


#: Longest wait for another thread that reads settings, in seconds. It may itself wait for a module that is imported by
#: this one, which takes a lease meanwhile: then one goes on without.
_PATIENCE_S = 5.0


class Met:
    """
    Remember how many apps there were at the last look.

    Attributes:
        number: So many; -1 while somebody looks, so that others ask, and wait.
        by: The thread that looks.
    """

    number = 0
    by: int | None = None


class _Turn:
    """Let one thread at a time read the settings of apps. That may import modules, and take a while."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _process.watch(self)

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        """Wait for the turn, and say whether it has come."""
        lock = self._lock
        has_come = lock.acquire(timeout=_PATIENCE_S)
        try:
            yield has_come
        finally:
            if has_come:
                lock.release()

    def before_fork(self) -> None:
        """Nothing is to be done."""

    def sockets(self) -> list[Socket]:
        """There are none."""
        return []

    def after_fork_in_child(self, parent: Owner) -> None:
        """Begin anew: a thread of the parent may have had the turn."""
        self._lock = threading.RLock()
        if Met.by != threading.get_ident():
            Met.by = None


_turn = _Turn()


#: The weak references to all apps, behind Celery's weak set: their number is asked at each lease outside of tasks.
made: Any = _state._apps.data  # type: ignore[attr-defined]  # noqa: SLF001 -- a WeakSet counts in Python


def watch() -> None:
    """Take over the settings of the apps that are there, and of those that come."""
    for app in _active_apps():
        _meet(app)
    _state.connect_on_app_finalize(_meet)


def meet_new() -> None:
    """
    Take over the settings of apps that were made since, or had not been read: a lease outside of tasks needs them now.

    They need not be finalized yet: a lease at import may come before that. Another thread that leases meanwhile waits.
    """
    if Met.by == threading.get_ident():  # by reading them a module was imported that takes a lease
        return
    with _turn.taken() as has_come:
        number = len(made)
        if not has_come or (number == Met.number and not waiting):  # another thread was quicker
            return
        Met.by, Met.number = threading.get_ident(), -1
        try:
            for app in _active_apps():
                _meet(app)
            while waiting:
                app = waiting.pop()()
                if app is not None and app not in _taken:
                    _adopt_quietly(app)
            Met.number = number
        finally:
            Met.by = None


def registry_of(app: Any) -> Registry:
    """
    Give the registry that tasks of *app* lease from: never another app's.

    Raises:
        ConfigurationError: Its settings are malformed.
    """
    seen: Any = _taken.data.get(weakref.ref(app))  # type: ignore[attr-defined]  # see `_registry.installed`
    changes = app.conf.changes  # a dict; `conf.get` would cost more than the lease
    if seen is None or seen[0] is not changes or changes.get(SETTING) is not seen[1]:
        return adopt(app)
    return _registry.installed(app) or process_registry


def adopt(app: Any) -> Registry:
    """
    Take over the settings of *app* as they are now, and hide them from those who print them.

    Raises:
        ConfigurationError: They are malformed.
    """
    with _turn.taken():
        databases = hide(app.conf)
        if isinstance(databases, Unreadable):
            raise databases.error
        registry = _registry.installed(app) or _registry_of_twin(app, databases)
        if registry is None and databases is not None:
            registry = _new_registry()
        if registry is not None:
            if databases is not None:
                registry.use_settings(databases.raw)
            _registry.install(app, registry)
        if app not in _taken:
            _hide_updates(app)
        _taken[app] = app.conf.changes, databases
    return registry or process_registry


def adopt_copy(app: Any) -> Registry:
    """
    Do the same for the app that a child works for, after its task modules were imported.

    A spawned child has two apps for one: the copy that was pickled to it, which runs the tasks, and the one that
    the module has made again, which has what `taskconn.configure(..., app=app)` said.
    """
    registry = _registry_of_twin(app, hide(app.conf))
    if registry is not None:
        _registry.install(app, registry)
    return adopt(app)


def setting(app: Any, name: str) -> Any:
    """Read a setting of ours in any of its spellings; None if it is not given."""
    return next((value for key in spellings(app.conf, name) if (value := app.conf.get(key)) is not None), None)


def _meet(app: Any) -> None:
    """Look at an app at import, or when it is finalized: its configuration is not read because of us."""
    if app in _taken:
        return
    if app.configured:
        _adopt_quietly(app)
    else:
        waiting.append(weakref.ref(app))


def _adopt_quietly(app: Any) -> None:
    """Take over settings where nobody has asked for a connection; what is wrong is said where somebody does."""
    try:
        adopt(app)
    except Exception as error:  # noqa: BLE001 -- a configuration module may raise anything as it is read
        log.debug("settings of Celery app %r can't be used: %s", app.main, type(error).__name__)


def _active_apps() -> list[Any]:
    return list(_state._get_active_apps())  # type: ignore[attr-defined]  # noqa: SLF001 -- not in its stubs, and no public list


def _new_registry() -> Registry:
    return Registry(above=process_registry, below=environment)


def _registry_of_twin(app: Any, databases: object) -> Registry | None:
    """Find the registry of the app that *app* is a copy of, or that is a copy of it; only spawned children have any."""
    if not getattr(celery.app.base, "USING_EXECV", False):
        return None
    for other in _active_apps():
        seen = _taken.get(other)
        if other is not app and other.main == app.main and (seen is None or seen[1] == databases):
            registry = _registry.installed(other)
            if registry is not None:
                return registry
    return None


def _hide_updates(app: Any) -> None:
    """Hide settings again when ``app.conf.update()`` replaces them."""
    reference = weakref.ref(app)

    def hide_again(*_args: Any, **_kwargs: Any) -> None:
        updated = reference()
        if updated is not None:
            hide(updated.conf)

    with contextlib.suppress(AttributeError):  # an app whose configuration class is the user's own
        app.conf.bind_to(hide_again)
