"""The application that the doctor looks at, imported as its worker would import it."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import _guard
from .._guard._modes import the_guard
from .._registry import Registry, default_registry, process_registry

__all__ = ["Application", "Request", "functions_of", "load"]

#: Celery's pools, and RQ's workers, that run tasks without a fork.
_POOLS_WITHOUT_FORK = frozenset({"eventlet", "gevent", "solo", "threads"})
_POOLS_OF_ONE = frozenset({"solo"})
_WORKERS_WITHOUT_FORK = frozenset({"SimpleWorker", "SpawnWorker"})


@dataclass
class Request:
    """
    Say what is to be looked at, in values that JSON has.

    Attributes:
        system: ``"celery"``, ``"rq"`` or ``"module"``.
        name: The app as `celery -A` takes it, RQ's settings module ("" for none), or "".
        modules: Modules with jobs, which are imported too.
        worker: RQ's worker class; "" for RQ's own.
        pool: Celery's pool; "" for what the app's settings say.
        hosts, processes, threads: The fleet; None is what one worker has by its settings.
        asks_servers: Are the servers of the aliases asked?
    """

    system: str
    name: str = ""
    modules: list[str] = field(default_factory=list)
    worker: str = ""
    pool: str = ""
    hosts: int = 1
    processes: int | None = None
    threads: int | None = None
    asks_servers: bool = True


@dataclass
class Application:
    """
    Tell what was imported.

    Attributes:
        words: What it is, for people.
        registry: Where its tasks lease from.
        tasks: Name -> task of Celery, or function.
        app: The Celery app; None for others.
        forks: Do its workers fork?
        has_limits: Does every task have a time limit that is raised by a signal?
        processes, threads: Processes of one worker, and what runs at once in each, by its settings.
    """

    words: str
    registry: Registry
    tasks: Mapping[str, Any]
    app: Any = None
    forks: bool = True
    has_limits: bool = False
    processes: int = 1
    threads: int = 1


def load(request: Request) -> Application:
    """
    Import what *request* names, and say to the guard what its settings allow.

    Raises:
        Exception: What the import raises.
    """
    application = {"celery": _celery, "rq": _rq, "module": _module}[request.system](request)
    if not _guard._Said.by_code:  # noqa: SLF001 -- code wins over settings
        the_guard.set("warn", _allowed(application, request))
    else:
        the_guard.set("warn", the_guard.allowed)
    return application


def functions_of(task: Any) -> list[types.FunctionType]:
    """List the function of a task, and those that decorators have wrapped in it, outermost first."""
    function = getattr(task, "run", task)
    found: list[types.FunctionType] = []
    while function is not None and len(found) < 20:  # noqa: PLR2004 -- a ring of wrappers
        inner = getattr(function, "__func__", function)
        if isinstance(inner, types.FunctionType):
            found.append(inner)
        function = getattr(inner, "__wrapped__", None)
    return found


def _celery(request: Request) -> Application:
    sys.argv[:] = ["celery", "-A", request.name, "worker"]
    from ..celery import _apps  # noqa: PLC0415 -- only where Celery is used

    app = _apps.load(request.name)
    for module in request.modules:
        importlib.import_module(module)
    tasks = {name: task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")}
    _close_djangos(app)
    pool = request.pool or str(app.conf.worker_pool)
    forks, concurrency = pool not in _POOLS_WITHOUT_FORK, app.conf.worker_concurrency or os.cpu_count() or 1
    return Application(
        f"Celery app {request.name!r}",
        _apps.registry_of(app),
        tasks,
        app,
        forks=forks,
        processes=concurrency if forks else 1,
        threads=1 if forks or pool in _POOLS_OF_ONE else concurrency,
    )


def _close_djangos(app: Any) -> None:
    """
    Close Django's connections, as the worker does before it forks.

    Source:
        celery/fixups/django.py, `DjangoWorkerFixup.install` and `close_database`.
    """
    database: Any = sys.modules.get("django.db")
    if database is not None and any("django" in type(fixup).__module__ for fixup in getattr(app, "_fixups", ())):
        database.connections.close_all()


def _rq(request: Request) -> Application:
    sys.argv[:] = ["rq", "worker", *(["-c", request.name] if request.name else [])]
    from ..rq import _preload, _settings  # noqa: PLC0415 -- only where RQ is used

    if request.name:
        _settings.load(request.name)
    worker = request.worker or "rq.Worker"
    path, _, attribute = worker.rpartition(".")
    kinds = {kind.__name__ for kind in getattr(importlib.import_module(path), attribute).__mro__}
    _, preloaded = _settings.find(_preload.PRELOAD) or ("", ())
    named = [*(preloaded.replace(",", " ").split() if isinstance(preloaded, str) else preloaded), *request.modules]
    modules = [importlib.import_module(name) for name in dict.fromkeys(named)]
    words = f"RQ's {worker}" + (f" with settings module {request.name!r}" if request.name else "")
    forks = _WORKERS_WITHOUT_FORK.isdisjoint(kinds)
    return Application(words, process_registry, _functions(modules), forks=forks, has_limits=True)


def _module(request: Request) -> Application:
    modules = [importlib.import_module(name) for name in request.modules]
    return Application(f"module {', '.join(request.modules)}", default_registry(), _functions(modules))


def _functions(modules: Iterable[types.ModuleType]) -> dict[str, Any]:
    """List the functions of modules, and what is a task of Celery's there."""
    found = {}
    for module in modules:
        for name, value in vars(module).items():
            function = getattr(value, "run", value) if not isinstance(value, type) else None
            if isinstance(function, (types.FunctionType, types.MethodType)) and function.__module__ == module.__name__:
                found[f"{module.__name__}.{name}"] = value
    return found


def _allowed(application: Application, request: Request) -> list[str]:
    """List what the settings let cross forks, where a worker finds it."""
    said: Any = None
    if application.app is not None:
        from ..celery import _apps  # noqa: PLC0415 -- only where Celery is used

        said = _apps.setting(application.app, _guard.ALLOW.lower())
    elif request.system == "rq":
        from ..rq import _settings  # noqa: PLC0415 -- only where RQ is used

        said = _settings.guard()[1]
    said = os.environ.get(_guard.ALLOW, "") if said is None else said
    words = said.split(",") if isinstance(said, str) else said
    return [str(word).strip() for word in words if str(word).strip()]
