"""Aliases, how to connect to each, and this process's pools; config.py reads settings, `_pool.py` keeps connections."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, overload

from . import _process
from ._entries import Changes, Entry, Settings, environment
from ._holds import inherit
from ._pool import Pool
from .driver import Driver
from .errors import NotConfiguredError, UnknownAliasError

__all__ = [
    "Handle",
    "Registry",
    "close_all",
    "default_registry",
    "environment",
    "install",
    "installed",
    "override",
    "process_registry",
    "registries",
]

C = TypeVar("C")
log = logging.getLogger("taskconn")


class Handle(Generic[C]):
    """Name one alias of one registry, with the type of its connections. Safe to keep, and to take along in a fork."""

    __slots__ = ("alias", "registry")

    def __init__(self, alias: str, registry: Registry) -> None:
        self.alias = alias
        self.registry = registry

    def __repr__(self) -> str:
        return f"<Handle {self.alias!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and (other.alias, other.registry) == (self.alias, self.registry)

    def __hash__(self) -> int:
        return hash((self.alias, id(self.registry)))


#: Every registry of this process, so that a changed entry reaches those who borrowed its pool.
_registries: _process.WeakMembers[Registry] = _process.WeakMembers()

#: Pools put in an alias's place for a test; they win over every registry.
_overrides: dict[str, Pool[Any]] = {}

#: Registries of installed apps (Celery), by app.
_installed: weakref.WeakKeyDictionary[Any, Registry] = weakref.WeakKeyDictionary()


class Registry:
    """
    Hold aliases and how to connect to each. Building one opens nothing, so it may be built before any fork.

    A registry made by the user knows its own entries only. That of an app has more layers, looked through for each
    alias: its own explicit entries, the process's explicit ones, the app's settings, the environment.
    """

    def __init__(
        self, *, above: Registry | None = None, below: Callable[[], Mapping[str, Settings]] | None = None
    ) -> None:
        self._explicit: dict[str, Entry] = {}
        self._settings: dict[str, Entry] = {}
        self._above = above
        self._below = below
        self._pools: dict[str, Pool[Any]] = {}
        self._former: dict[str, list[Pool[Any]]] = {}
        _registries.add(self)

    def __repr__(self) -> str:
        return f"<Registry {', '.join(self.aliases()) or 'without aliases'}>"

    # -- settings --------------------------------------------------------------------------------------------

    @overload
    def add(self, alias: str, target: Driver[C], **options: Any) -> Handle[C]: ...
    @overload
    def add(self, alias: str, target: str | Callable[[], str] | Mapping[str, Any], **options: Any) -> Handle[Any]: ...
    def add(
        self, alias: str, target: Driver[C] | str | Callable[[], str] | Mapping[str, Any], **options: Any
    ) -> Handle[Any]:
        """
        Add *alias*, or replace it. The same again changes nothing; else old connections close as their leases end.

        Args:
            alias: Name of the connection.
            target: URL, callable or ``"module:attr"`` that gives one, mapping with ``url`` and options, or a driver
                (then ``url=`` in *options* says where to).
            options: Options of the alias by name; see `Options`.

        Raises:
            ConfigurationError: Something is malformed or unknown.
        """
        from . import config  # noqa: PLC0415 -- see `Settings`

        if isinstance(target, Driver):
            url = options.pop("url", f"{type(target).__name__.lower()}://")
            entry = Entry(config.parse(alias, url, **options), target)
            entry.load(alias)
            self._replace(self._explicit, alias, entry)
        else:
            self._replace(self._explicit, alias, Entry(config.parse(alias, target, **options)))
        return Handle(alias, self)

    def configure(self, databases: Mapping[str, Any]) -> None:
        """Add every alias of *databases*; all are parsed before the first is taken over."""
        from . import config  # noqa: PLC0415 -- see `Settings`

        for alias, settings in config.parse_databases(databases).items():
            self._replace(self._explicit, alias, Entry(settings))

    def use_settings(self, databases: Mapping[str, Any]) -> None:
        """Take over a task system's settings: they rank below explicit entries, and what they leave out is gone."""
        from . import config  # noqa: PLC0415 -- see `Settings`

        parsed = config.parse_databases(databases)
        for alias in set(self._settings) - set(parsed):
            del self._settings[alias]
            self._refresh(alias)
        for alias, settings in parsed.items():
            self._replace(self._settings, alias, Entry(settings))

    def aliases(self) -> list[str]:
        """List the aliases of all layers, in the order of their rank."""
        layers: list[Iterable[str]] = [self._explicit]
        if self._above is not None:
            layers.append(self._above._explicit)
        layers += [self._settings, self._below() if self._below else ()]
        return list(dict.fromkeys(alias for layer in layers for alias in layer))

    def handle(self, alias: str) -> Handle[Any]:
        """
        Name one alias.

        Raises:
            UnknownAliasError: There is no such alias.
        """
        self._find(alias)
        return Handle(alias, self)

    # -- connections -----------------------------------------------------------------------------------------

    def pool(self, alias: str) -> Pool[Any]:
        """
        Give this process's pool of *alias*.

        Raises:
            NotConfiguredError: There are no settings at all.
            UnknownAliasError: There are some, but not for this alias.
        """
        if _overrides and alias in _overrides:
            return _overrides[alias]
        try:
            return self._pools[alias]
        except KeyError:
            return self._make_pool(alias)

    def check(self) -> None:
        """
        Import every driver and check every setting, without connecting: what is malformed or missing stops a worker.

        Raises:
            ConfigurationError: The first problem.
        """
        for alias in self.aliases():
            pool = self.pool(alias)
            pool.driver.validate(pool.target())

    def pools(self) -> list[Pool[Any]]:
        """List the pools that were used so far in this process, and its ancestors."""
        return list(self._pools.values())

    def stats(self) -> dict[str, dict[str, int]]:
        """Count what happened to the connections of each alias in this process; see `Counters`."""
        return {alias: pool.stats() for alias, pool in list(self._pools.items())}

    def recycle(self, alias: str) -> None:
        """Replace the connections of *alias* at their next safe moment."""
        self.pool(alias).recycle()

    def close(self) -> None:
        """Say goodbye to every connection of this process that no lease, nor another thread's proxy, holds."""
        for pool in self.pools():
            for one in (pool, *pool.former):
                one.close_unleased()

    # -- private ---------------------------------------------------------------------------------------------

    def _replace(self, layer: dict[str, Entry], alias: str, entry: Entry) -> None:
        if layer.get(alias) != entry:
            layer[alias] = entry
            self._refresh(alias)

    def _refresh(self, alias: str) -> None:
        """Look *alias* up anew at its next use, here and in the registries that look into this one."""
        for registry in _registries.list():
            if registry is self or registry._above is self:
                registry._forget(alias)

    def _forget(self, alias: str) -> None:
        """Forget the pool of *alias*; it is retired, unless another registry uses it, too."""
        pool = self._pools.pop(alias, None)
        Changes.number += 1
        if pool is not None and pool.holds is not None:
            self._former.setdefault(alias, []).append(pool)
        if pool is not None and all(registry._pools.get(alias) is not pool for registry in _registries.list()):
            pool.retire()

    def _find(self, alias: str) -> tuple[Registry, Entry]:
        """Find the layer that says how to connect to *alias*, and the registry whose pool it is."""
        above, below = self._above, self._below() if self._below else {}
        if alias in self._explicit:
            return self, self._explicit[alias]
        if above is not None and alias in above._explicit:
            return above, above._explicit[alias]
        if alias in self._settings:
            return self, self._settings[alias]
        if alias in below:
            return self, Entry(below[alias])
        from . import config  # noqa: PLC0415 -- see `Settings`

        known = self.aliases()
        if not known:
            raise NotConfiguredError(alias)
        raise UnknownAliasError(alias, ", ".join(known), config.nearest(alias, known))

    def _make_pool(self, alias: str) -> Pool[Any]:
        # No lock, which a fork could catch held: two threads may make one each, and both use the first.
        found = self._find(alias)
        made = found[0].pool(alias) if found[0] is not self else found[1].make_pool(alias)
        pool = self._pools.setdefault(alias, made)
        Changes.number += 1
        inherit(pool, self._former.pop(alias, ()))
        current: object = None
        try:
            current = self._find(alias)
        finally:  # another thread has given it other settings meanwhile, and found no pool to forget
            if current != found:
                self._forget(alias)
        return pool if current == found else self.pool(alias)


#: What `taskconn.configure()` writes to.
process_registry = Registry(below=environment)


def install(app: Any, registry: Registry) -> None:
    """Make *registry* that of *app*, for as long as the app lives."""
    _installed[app] = registry


def installed(app: Any) -> Registry | None:
    """Give the registry of *app*, if it has one."""
    # The dictionary behind the weak one, whose own methods are calls in Python: this is asked for every task.
    found: Registry | None = _installed.data.get(weakref.ref(app))  # type: ignore[attr-defined]  # not in its stub
    return found


def default_registry() -> Registry:
    """Give the registry for use outside of tasks: that of the one installed app, else the process's."""
    installed_ones: dict[Any, Registry] = _installed.data  # type: ignore[attr-defined]  # see `installed`
    if not installed_ones:
        return process_registry
    found = set(installed_ones.values())  # a process that Celery spawned has two copies of its one app
    return found.pop() if len(found) == 1 else process_registry


def registries() -> list[Registry]:
    """List every registry of this process."""
    return _registries.list()


def override(alias: str, pool: Pool[Any] | None) -> Pool[Any] | None:
    """Put *pool* in the place of *alias* everywhere, or take it away again (None); gives what was there."""
    previous = _overrides.pop(alias, None)
    if pool is not None:
        _overrides[alias] = pool
    return previous


def close_all() -> None:
    """Say goodbye to every connection of this process that nobody uses: the process is about to end."""
    for registry in registries():
        registry.close()


_process.at_exit(close_all)
