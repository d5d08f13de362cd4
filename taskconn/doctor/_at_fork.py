"""What crosses a fork: connections and who holds them, threads; seen at a real fork, as a worker makes it."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
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
    threads = _threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about forks from processes with threads
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    _guard.worker_is_ready()  # no more traces
    crossing = the_guard.found
    found = _merged([*map(_connection, crossing), *_held(application, crossing), *_of_threads(threads)])
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
    imports = [place for place in crossing.imports if place != crossing.place and package_of(place.path) != "taskconn"]
    if imports and crossing.place is not None and imports[0].path == crossing.place.path:
        words.append(f"wanted at {_line(imports.pop(0))}")
    if imports:
        words.append(f"imported by {', which is imported by '.join(map(_line, imports))}")
    return finding("TC101", ", ".join(words), crossing.place)


def _line(place: Place) -> str:
    return str(place).rpartition(" in ")[0]


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Write what is the same of several connections, such as those of a pool, once, with their number."""
    counts = Counter(findings)
    return [one._replace(message=f"{one.message} ({n} of them)") if n > 1 else one for one, n in counts.items()]


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


def _threads() -> list[tuple[str, Place | None, str]]:
    """List the threads of the application and of its libraries: name, the user's function, packages."""
    frames, found = sys._current_frames(), []  # noqa: SLF001 -- documented, in spite of its name
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            place, packages = _who(frames.get(thread.ident or 0))
            if INFRASTRUCTURE.isdisjoint(packages):  # they renew theirs in the children
                found.append((thread.name, place, ", ".join(sorted(packages))))
    return found


def _of_threads(threads: Iterable[tuple[str, Place | None, str]]) -> Iterator[Finding]:
    """Make a finding for each function, and for all threads of a package together."""
    names: dict[tuple[Place | None, str], list[str]] = {}
    for name, place, package in threads:
        names.setdefault((place, package), []).append(name)
    for (place, package), those in names.items():
        what = f"thread {those[0]!r}" if len(those) == 1 else f"threads {', '.join(map(repr, those))}"
        verb = "is" if len(those) == 1 else "are"
        of = f" of {package}" if package else ""
        yield finding("TC103", f"{what}{of} {verb} alive at the fork, and not in the children", place)


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
