"""What crosses a fork: connections and who holds them, threads; seen at a real fork, as a worker makes it."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from types import FrameType, FunctionType
from typing import Any

from .. import _guard
from .._guard import _bindings, _findings, _holders
from .._guard._libraries import INFRASTRUCTURE
from .._guard._modes import the_guard
from .._guard._stacks import Place, package_of, shortened
from ._application import Application, functions_of
from ._findings import RULES, Finding

__all__ = ["count", "finding", "look", "task_place"]

#: Frames whose package says nothing of who wants a thread: the user's "" comes first.
_UNNAMED = frozenset({None, "", "(standard library)"})


def look(application: Application) -> tuple[list[Finding], list[str]]:
    """Fork once, and tell what would have crossed; of workers that do not fork, nothing."""
    tasks = count(len(application.tasks), "task")
    if not application.forks:
        return [], [f"{application.words}: {tasks}; its workers do not fork"]
    threads = list(_threads())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about forks from processes with threads
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    _guard.worker_is_ready()  # no more traces
    crossing = the_guard.found
    found = [*map(_connection, crossing), *_held(application, crossing), *threads]
    seen = f"{count(len(crossing), 'connection')} open, {count(len(threads), 'thread')} alive"
    return found, [f"{application.words}: {tasks}; at the fork {seen}"]


def finding(code: str, message: str, place: Place | None = None) -> Finding:
    """Make a finding at *place*; its path is written as its reader knows it."""
    if place is None:
        return Finding(RULES[code], message)
    return Finding(RULES[code], message, shortened(place.path), place.line)


def count(number: int, what: str) -> str:
    """Write ``1 task``, ``2 tasks``."""
    return f"{number} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def task_place(task: Any) -> Place | None:
    """Give the line of a task's own function, under its decorators."""
    functions = functions_of(task)
    if not functions:
        return None
    code = functions[-1].__code__
    return Place(code.co_filename, code.co_firstlineno, code.co_name)


def _connection(crossing: _findings.Finding) -> Finding:
    words = [f"{crossing.what} is open at the fork"]
    if crossing.by is not None:
        words.append(f"opened by {crossing.by}")
    if crossing.holder:
        words.append(f"held by {crossing.holder}")
    importers = [str(place) for place in crossing.imports if place != crossing.place]
    if importers:
        chain = [place.rpartition(" in ")[0] for place in importers]
        words.append(f"imported by {', which is imported by '.join(chain)}")
    return finding("TC101", ", ".join(words), crossing.place)


def _held(application: Application, crossing: list[_findings.Finding]) -> Iterator[Finding]:
    """Find the tasks whose variables lead to a connection that crosses."""
    what = {one.client.socket.fd: one.what for one in crossing}
    for name, task in application.tasks.items() if what else ():
        for fd, holder in _holders.find(what, list(_roots(task))).items():
            yield finding("TC102", f"task {name!r} holds the {what[fd]}: {holder.name}", task_place(task))


def _roots(task: Any) -> Iterator[_holders.Root]:
    """List what a task's functions use: globals by name, what hangs on the functions, its class."""
    for function in functions_of(task):
        module: Any = sys.modules.get(function.__module__)
        for name in sorted(_names(function)):
            if name in function.__globals__:
                place = partial(_bindings.of_module, module, (name,)) if module is not None else _nowhere
                yield _holders.Root(function.__globals__[name], f"{function.__module__}.{name}", place)
        yield _holders.Root(function, f"{function.__module__}.{function.__qualname__}", _nowhere)
    if not isinstance(task, FunctionType):
        for kind in type(task).__mro__:
            yield _holders.Root(kind, f"{kind.__module__}.{kind.__qualname__}", _nowhere)


def _names(function: FunctionType) -> set[str]:
    """Give the globals that a function may use, by those in functions and blocks inside of it, too."""
    codes, names = [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    return names


def _threads() -> Iterator[Finding]:
    """List the threads of the application and of its libraries."""
    frames = sys._current_frames()  # noqa: SLF001 -- documented, in spite of its name
    for thread in threading.enumerate():
        if thread is threading.main_thread():
            continue
        place, packages = _who(frames.get(thread.ident or 0))
        if not INFRASTRUCTURE.isdisjoint(packages):
            continue  # they renew theirs in the children
        of = f" of {', '.join(sorted(packages))}" if packages else ""
        yield finding("TC103", f"thread {thread.name!r}{of} is alive at the fork, and not in the children", place)


def _who(frame: FrameType | None) -> tuple[Place | None, set[str]]:
    """Give the user's function that a thread began with, if there is one, and the packages that it is in."""
    place, packages = None, set[str]()
    while frame is not None:
        package = package_of(frame.f_code.co_filename)
        if package == "":
            place = Place(frame.f_code.co_filename, frame.f_code.co_firstlineno, frame.f_code.co_name)
        elif package not in _UNNAMED:
            packages.add(str(package))
        frame = frame.f_back
    return place, packages


def _nowhere() -> None:
    return None
