"""What holds a connection: a search from the user's own modules and calls, down to the socket or client object."""

from __future__ import annotations

import _socket
import contextvars
import functools
import gc
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

from . import _bindings
from ._libraries import CLIENTS, INFRASTRUCTURE
from ._stacks import Place, file_of, is_users

__all__ = ["Holder", "Root", "client_kind", "find", "infrastructure_roots", "users_roots"]

#: A search ends when it has seen so many objects, or taken so long in seconds: who forks waits for it.
_MOST_OBJECTS = 400_000
_MOST_S = 0.5

#: Libraries whose connections tell their descriptor, and keep no socket object in Python.
_WITH_FILENO = frozenset({"MySQLdb", "psycopg", "psycopg2"})

#: What leads nowhere.
_ENDS = (str, bytes, bytearray, int, float, complex, type(None), types.CodeType, types.ModuleType, types.FrameType)
_SKIPPED = frozenset(
    {*_ENDS, bool, types.BuiltinFunctionType, types.GetSetDescriptorType, types.MemberDescriptorType, property}
)


class Root(NamedTuple):
    """Begin a search: a value, what to call it, and the line that gave it this name."""

    value: object
    name: str
    place: Callable[[], Place | None]


class Holder(NamedTuple):
    """
    Say what holds a connection.

    Attributes:
        name: ``shop.db.conn``, ``shop.tasks.DatabaseTask._db``, ``a closure of shop.tasks.work``.
        place: Line that gave it this name, if the source shows it.
        kind: Kind of server, by the outermost client object on the way; "" if there was none.
        package: Package whose object the variable holds; "" is the user's own, or Python's.
        reference: The object that has the socket, weakly; gives None if it has gone or can't be held weakly.
    """

    name: str
    place: Place | None
    kind: str
    package: str
    reference: Callable[[], Any]


def find(descriptors: Iterable[int], roots: Iterable[Root]) -> dict[int, Holder]:
    """
    Search what holds the sockets of *descriptors*, nearest first.

    Nothing is called but `fileno` of sockets and of clients that are known to have one. Proxies are not resolved.

    Returns:
        Descriptor -> holder, of those that were found.
    """
    wanted, found = set(descriptors), dict[int, Holder]()
    beginnings = list(roots)
    queue: deque[tuple[object, Root, str]] = deque((root.value, root, "") for root in beginnings)
    seen: set[int] = set()
    keep: list[object] = []  # an id stays an object's own for as long as the object lives
    ends_at = perf_counter() + _MOST_S
    while queue and wanted:
        thing, root, kind = queue.popleft()
        try:
            if id(thing) in seen or type(thing) in _SKIPPED:
                continue
            seen.add(id(thing))
            keep.append(thing)
            if len(seen) % 1024 == 0 and (perf_counter() > ends_at or len(seen) > _MOST_OBJECTS):
                break
            kind = kind or client_kind(type(thing))  # type: ignore[arg-type]  # classes are hashable, nearly all
            descriptor = _descriptor_of(thing)
            if descriptor in wanted:
                name, place = _first_name(root, beginnings)
                found[descriptor] = Holder(name, place, kind, _package(root.value), _reference(thing))
                wanted.discard(descriptor)
            else:
                queue.extend((child, within, kind) for child, within in _children(thing, root))
        except Exception:  # noqa: BLE001, S112 -- a class of somebody's own that can't be hashed, or says odd things
            continue
    return found


def users_roots() -> Iterator[Root]:
    """List the variables of the user's modules, and of calls of the user's functions that are going on."""
    for name, module in list(sys.modules.items()):
        if is_users(file_of(module)):
            for variable, value in list(getattr(module, "__dict__", {}).items()):
                if not variable.startswith("__"):
                    place = functools.partial(_bindings.of_module, module, (variable,))
                    yield Root(value, f"{name}.{variable}", place)
    for frame in list(sys._current_frames().values()):  # noqa: SLF001 -- documented, in spite of its name
        yield from _locals(frame)


def infrastructure_roots() -> Iterator[Root]:
    """List the pools of Celery's and kombu's own, whoever has opened what is in them."""
    pools: Any = sys.modules.get("kombu.pools")
    state: Any = sys.modules.get("celery._state")
    for name in ("connections", "producers"):
        if pools is not None:
            yield Root(dict(getattr(pools, name, {})), f"kombu.pools.{name}", _nowhere)
    if state is not None:
        for app in list(state._get_active_apps()):  # noqa: SLF001 -- there is no public list
            kept = vars(app)
            local = kept.get("_local")
            backend = kept.get("_backend_cache") or getattr(local, "backend", None)
            for value in (kept.get("_pool"), kept.get("amqp"), backend):
                if value is not None:
                    yield Root(vars(value) if hasattr(value, "__dict__") else value, "celery", _nowhere)


@functools.lru_cache(maxsize=4096)
def client_kind(kind: Any) -> str:
    """Name the kind of server that objects of a class are clients of; "" for most classes."""
    for base in kind.__mro__[:-1]:
        package = str(getattr(base, "__module__", "")).partition(".")[0]
        if package in CLIENTS:
            return CLIENTS[package]
    return ""


def _first_name(found: Root, roots: list[Root]) -> tuple[str, Place | None]:
    """Give the name that a value got where it was made: others are imports of it."""
    for root in (found, *(root for root in roots if root.value is found.value)):
        place = root.place()
        if place is not None:
            return root.name, place
    return found.name, None


def _locals(frame: types.FrameType | None) -> Iterator[Root]:
    while frame is not None:
        code = frame.f_code
        if code.co_name != "<module>" and is_users(code.co_filename):
            for variable, value in list(frame.f_locals.items()):
                place = functools.partial(_bindings.of_local, code, variable)
                yield Root(value, f"{variable} in {code.co_name}()", place)
        frame = frame.f_back


def _children(thing: Any, root: Root) -> Iterator[tuple[object, Root]]:
    """List what *thing* holds: of functions and classes only what a user may have put there."""
    kind = type(thing)
    if kind is types.FunctionType:
        where = f"{thing.__module__}.{thing.__qualname__}"
        place = functools.partial(Place, thing.__code__.co_filename, thing.__code__.co_firstlineno, thing.__name__)
        for cell in thing.__closure__ or ():
            with_value = _cell(cell)
            yield with_value, root._replace(name=f"a closure of {where}", place=place)
        for value in (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()):
            yield value, root._replace(name=f"a default argument of {where}", place=place)
        yield thing.__dict__, root
    elif issubclass(kind, type):
        yield from _class_attributes(thing)
    elif kind is contextvars.ContextVar:
        yield thing.get(None), root._replace(name=f"context variable {thing.name!r} ({root.name})")
    elif not _is_infrastructure(kind):  # type: ignore[arg-type]  # classes are hashable
        for child in gc.get_referents(thing):
            if not (issubclass(type(child), type) and not _is_users_class(child)):
                yield child, root


def _class_attributes(cls: type) -> Iterator[tuple[object, Root]]:
    if not _is_users_class(cls):
        return
    module = sys.modules[cls.__module__]
    for name, value in list(vars(cls).items()):
        inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not name.startswith("__"):
            place = functools.partial(_bindings.of_module, module, (*cls.__qualname__.split("."), name))
            yield inner, Root(inner, f"{cls.__module__}.{cls.__qualname__}.{name}", place)


def _is_users_class(cls: type) -> bool:
    module = sys.modules.get(str(cls.__module__))
    return module is not None and is_users(file_of(module))


@functools.lru_cache(maxsize=4096)
def _is_infrastructure(kind: Any) -> bool:
    """Tell of a class whether its objects are a task system's: what they hold they mind themselves."""
    if kind.__module__ == "celery.local":
        return False  # stands for a task that is not made yet; it holds the user's function
    return str(kind.__module__).partition(".")[0] in INFRASTRUCTURE


def _descriptor_of(thing: Any) -> int | None:
    kind = type(thing)
    if not issubclass(kind, _socket.socket) and not _tells_descriptor(kind):  # type: ignore[arg-type]  # as above
        return None
    try:
        descriptor: int = thing.fileno()
    except Exception:  # noqa: BLE001 -- closed, or in use by another thread: errors of many libraries
        return None
    return descriptor


@functools.lru_cache(maxsize=4096)
def _tells_descriptor(kind: Any) -> bool:
    packages = {str(getattr(base, "__module__", "")).partition(".")[0] for base in kind.__mro__[:-1]}
    return not _WITH_FILENO.isdisjoint(packages) and callable(getattr(kind, "fileno", None))


def _package(value: object) -> str:
    return str(type(value).__module__).partition(".")[0]


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _reference(thing: object) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:
        return _nowhere


def _nowhere() -> None:
    return None
