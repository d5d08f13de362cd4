"""What settings of tasks come to: limits that are not heard, redelivery by halves, modules that are not imported."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from .._guard import _bindings
from .._guard._stacks import Place, file_of, is_users
from .._pool import Pool
from ..errors import TaskconnError
from ._application import Application, functions_of
from ._at_fork import finding, task_place
from ._findings import Finding

__all__ = ["look"]

#: Clients that wait for their server in C, where no signal is heard, by the names that URLs have for them.
_DEAF = {"psycopg2": "psycopg2", "sqlite3": "sqlite3"}
_DEAF_UNDER_SQLALCHEMY = {
    "sqlalchemy+mysql": "mysqlclient",
    "sqlalchemy+mysql+mysqldb": "mysqlclient",
    "sqlalchemy+postgresql": "psycopg2",
    "sqlalchemy+postgresql+psycopg2": "psycopg2",
    "sqlalchemy+sqlite": "sqlite3",
    "sqlalchemy+sqlite+pysqlite": "sqlite3",
}

#: Words in the name of an attribute that keeps a connection.
_CONNECTIONS = frozenset(
    {"client", "con", "conn", "connection", "cursor", "database", "db", "mongo", "redis", "session"}
)

#: Most tasks that are named in one finding.
_NAMED = 3


def look(application: Application) -> list[Finding]:
    """Look at the settings; nothing is run."""
    found = list(_unheard_limits(application))
    if application.app is not None:
        found += _kept_connections(application)
        found += [*_redelivery(application), *_dropped_modules(application.app)]
    return found


def _unheard_limits(application: Application) -> Iterator[Finding]:
    limited = {name: _aliases(task) for name, task in application.tasks.items() if _is_limited(application, task)}
    for alias in application.registry.aliases() if limited else ():
        try:
            pool = application.registry.pool(alias)
            client = _deaf_client(pool)
        except TaskconnError:
            continue  # told by TC105
        named = [name for name, aliases in limited.items() if alias in aliases]
        is_named_anywhere = any(alias in _aliases(task) for task in application.tasks.values())
        if client and not pool.options.deadline and (named or not is_named_anywhere):
            who = _list(named or limited)
            message = f"alias {alias!r} waits in C ({client}) without `deadline=True`: the limit of {who} comes late"
            yield finding("TC107", message, task_place(application.tasks[(named or list(limited))[0]]))


def _is_limited(application: Application, task: Any) -> bool:
    if application.app is None:
        return application.has_limits
    return bool(getattr(task, "soft_time_limit", None) or application.app.conf.task_soft_time_limit)


def _deaf_client(pool: Pool[Any]) -> str:
    scheme = pool.target().scheme
    return _DEAF_UNDER_SQLALCHEMY.get(scheme, "") or _DEAF.get(getattr(pool.driver, "package", ""), "")


def _redelivery(application: Application) -> Iterator[Finding]:
    lost, vain, twice = [], [], []
    for name, task in application.tasks.items():
        is_late, is_rejected = bool(task.acks_late), bool(task.reject_on_worker_lost)
        if is_late and not is_rejected:
            lost.append(name)
        elif is_rejected and not is_late:
            vain.append(name)
        elif is_late and _aliases(task) and not _is_once(task):
            twice.append(name)
    for names, words in (
        (lost, "`acks_late` without `reject_on_worker_lost`: the message is acknowledged when the child is killed"),
        (vain, "`reject_on_worker_lost` without `acks_late`: it has no effect, for the message is gone by then"),
        (twice, "`acks_late` and `reject_on_worker_lost` without `once`: what was committed is done again"),
    ):
        if names:
            yield finding("TC108", f"{_list(names)}: {words}", task_place(application.tasks[names[0]]))


def _kept_connections(application: Application) -> Iterator[Finding]:
    """Find the manual's `DatabaseTask._db`: a property of a task class that stores what it has made on the object."""
    kinds = {kind: None for task in application.tasks.values() for kind in type(task).__mro__ if is_users(_file(kind))}
    for kind in kinds:
        empty = {name for name, value in vars(kind).items() if value is None and _CONNECTIONS & set(name.split("_"))}
        for method in vars(kind).values():
            code = getattr(getattr(method, "fget", None), "__code__", None)
            if not isinstance(code, CodeType):
                continue
            for step in dis.get_instructions(code):
                if step.opname == "STORE_ATTR" and step.argval in empty:
                    lines = [line for start, end, line in code.co_lines() if start <= step.offset < end and line]
                    place = Place(code.co_filename, lines[0] if lines else code.co_firstlineno, code.co_name)
                    yield finding(
                        "TC005", f"`{step.argval}` of the task class `{kind.__name__}` keeps a connection", place
                    )


def _file(kind: type) -> str:
    return file_of(sys.modules.get(kind.__module__))


def _dropped_modules(app: Any) -> Iterator[Finding]:
    """
    Find modules that only the configuration names, where the constructor named some, too.

    Source:
        Experiment with Celery 5.7: `Celery(include=[...])` is laid over the configuration's list.
    """
    if not getattr(app, "_preconf", {}).get("include"):
        return
    kept = set(app.conf.include or ())
    keys = [
        "include",
        "CELERY_INCLUDE",
        *([f"{app.conf.prefix}include", f"{app.conf.prefix}INCLUDE"] if app.conf.prefix else []),
    ]
    dropped: list[str] = []
    for layer in app.conf.maps[1:-1]:  # the first is what was laid over it, the last has the defaults
        for key in keys:
            value = layer.get(key) if hasattr(layer, "get") else None
            dropped += [name for name in _words(value) if name not in kept and name not in dropped]
    if dropped:
        message = f"`Celery(include=...)` replaces the configuration's list; not imported: {', '.join(dropped)}"
        yield finding("TC109", message, _app_place(app))


def _words(value: Any) -> Iterable[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value or ()]


def _app_place(app: Any) -> Place | None:
    for module in list(sys.modules.values()):
        if is_users(file_of(module)):
            for name, value in list(vars(module).items()):
                if value is app and (place := _bindings.of_module(module, (name,))) is not None:
                    return place
    return None


def _aliases(task: Any) -> set[str]:
    return {alias for function in functions_of(task) for alias in getattr(function, "__taskconn_aliases__", ())}


def _is_once(task: Any) -> bool:
    return any(getattr(function, "__taskconn_once__", False) for function in functions_of(task))


def _list(names: Iterable[str]) -> str:
    those = list(names)
    more = f" and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
    return f"{'task' if len(those) == 1 else 'tasks'} {', '.join(map(repr, those[:_NAMED]))}{more}"
