"""Stacks of calls, kept small when they are taken and read when somebody asks: who has opened this, in which line."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from ._libraries import CLIENTS, FRAMEWORKS, INFRASTRUCTURE

__all__ = ["Opening", "Place", "Stack", "explain", "file_of", "is_users", "take"]

#: Code and instruction of each call, innermost first. Lines are worked out later: most stacks are never looked at.
Stack = tuple[tuple[CodeType, int], ...]

#: Most calls that are kept: imports of imports are deep.
_DEPTH = 150


class Place(NamedTuple):
    """Name a line: ``shop/db.py:12 in <module>``."""

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{shortened(self.path)}:{self.line} in {self.function}"


class Opening(NamedTuple):
    """
    Say who has opened a connection.

    Attributes:
        kind: Kind of server, by the library that opened it; "" if that is not known.
        owner: Package that wanted it; "" is the user's own code.
        place: Line of the user's code; without any, the innermost line of a package that is no client library.
        by: Line in a package of somebody else's which the user's line has called or imported.
        imports: Modules that were being imported, innermost first: each imports the one before it.
        packages: All packages whose code led to it.
    """

    kind: str
    owner: str
    place: Place | None
    by: Place | None
    imports: tuple[Place, ...]
    packages: frozenset[str]


def take(frame: FrameType | None) -> Stack:
    """Keep the calls that lead to *frame*, without keeping it, or its variables, alive."""
    calls: list[tuple[CodeType, int]] = []
    while frame is not None and len(calls) < _DEPTH:
        calls.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(calls)


def explain(stack: Stack) -> Opening:
    """Find out who has opened what was opened at *stack*."""
    kind, owner, packages = "", None, set[str]()
    place: Place | None = None
    by: Place | None = None
    for code, instruction in stack:
        package = package_of(code.co_filename)
        if package is None:
            continue
        packages.add(package)
        if not kind and package in CLIENTS:
            kind = CLIENTS[package]
        if package in CLIENTS or package in FRAMEWORKS or package == _STANDARD:
            continue
        here = Place(code.co_filename, _line(code, instruction), code.co_name)
        owner = package if owner is None else owner
        if package == _USERS:
            place = here
            break
        by = by or here
        if owner in INFRASTRUCTURE:
            break
    imports = tuple(
        Place(code.co_filename, _line(code, instruction), code.co_name)
        for code, instruction in stack
        if code.co_name == "<module>" and package_of(code.co_filename) is not None
    )
    return Opening(kind, owner or "", place or by, by if place is not None else None, imports, frozenset(packages))


def file_of(module: object) -> str:
    """Give the path of a module's file. What stands in a module's place, and has none, or tells none, is no user's."""
    try:
        path = getattr(module, "__file__", None)
    except Exception:  # noqa: BLE001 -- a lazy module, imported by being looked at
        path = None
    return path if isinstance(path, str) else "<frozen none>"


def is_users(path: str) -> bool:
    """Tell whether the file at *path* is the user's own code: of no installed package, nor of Python itself."""
    return package_of(path) == _USERS


#: What stands for the user's own code, and for the standard library's modules that are not named.
_USERS = ""
_STANDARD = "(standard library)"

_OWN = str(Path(__file__).resolve().parents[1]) + os.sep


@functools.cache
def package_of(path: str) -> str | None:
    """
    Name the package that the file at *path* belongs to.

    Returns:
        "" for the user's own code, None for what is nobody's: the machinery of imports, the script of a command.
    """
    if path.startswith("<frozen "):
        return None
    for folder in ("site-packages", "dist-packages"):
        _, found, rest = path.rpartition(f"{os.sep}{folder}{os.sep}")
        if found:
            return rest.partition(os.sep)[0].removesuffix(".py")
    if path.startswith(_OWN):
        return "taskconn"
    for folder in _standard_folders():
        if path.startswith(folder):
            name = path[len(folder) :].removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")
            return _standard_name(name)
    if Path(path).parent == Path(sysconfig.get_path("scripts")):
        return None
    return _USERS


def shortened(path: str) -> str:
    """Write a path as its reader knows it: below the working folder, or below one that modules are imported from."""
    for folder in [_working_folder(), *sys.path]:
        if folder and path.startswith(folder.rstrip(os.sep) + os.sep):
            return path[len(folder.rstrip(os.sep)) + 1 :]
    return path


def _standard_name(name: str) -> str:
    """Name a module of the standard library by the longest part of its name that is known, else just as such."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        known = ".".join(parts[:end])
        if known in CLIENTS or known in INFRASTRUCTURE:
            return known
    return _STANDARD


@functools.cache
def _standard_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
    real = {os.path.realpath(path) for path in paths if path}
    return tuple(path + os.sep for path in {*filter(None, paths), *real})


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 -- a string is compared
    except OSError:
        return ""


def _line(code: CodeType, instruction: int) -> int:
    for start, end, line in _lines(code):
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


def _lines(code: CodeType) -> Iterator[tuple[int, int, int | None]]:
    return code.co_lines()
