"""The line in the source that gives a variable its value: of a module, of a class in it, of a function."""

from __future__ import annotations

import ast
import functools
import types
from pathlib import Path

from ._stacks import Place, file_of

__all__ = ["calls_with", "of_local", "of_module"]


def calls_with(path: str, method: str, keyword: str, *, value: bool) -> bool:
    """Tell whether the source at *path* calls a method of that name with that argument: ``x.dispose(close=False)``."""
    tree = _source(path)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            for argument in node.keywords:
                if argument.arg == keyword and isinstance(argument.value, ast.Constant):
                    return argument.value.value is value
    return False


def of_module(module: types.ModuleType, names: tuple[str, ...]) -> Place | None:
    """Find the line of a module's source that gives a name its value, in the classes that lead to it."""
    path = file_of(module)
    tree = _source(path)
    if tree is None:
        return None
    body, line, function = tree.body, 0, "<module>"
    for name in names:
        statement = _last(body, name)
        if statement is None:
            break
        line = statement.lineno
        if isinstance(statement, ast.ClassDef):
            body, function = statement.body, statement.name
        else:
            body = []
    return Place(path, line, function) if line else None


def of_local(code: types.CodeType, variable: str) -> Place | None:
    tree = _source(code.co_filename)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.lineno <= code.co_firstlineno + 20:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == code.co_firstlineno and node.name == code.co_name:
                statement = _last(node.body, variable)
                return Place(code.co_filename, (statement or node).lineno, code.co_name)
    return None


def _last(body: list[ast.stmt], name: str) -> ast.stmt | None:
    """Find the last statement of *body*, or of blocks in it, that binds *name*."""
    found: ast.stmt | None = None
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = statement if statement.name == name else found
        else:
            inner = [node for node in ast.walk(statement) if isinstance(node, ast.stmt)]
            found = next((node for node in reversed(inner) if name in _bound(node)), found)
    return found


def _bound(statement: ast.stmt) -> set[str]:
    """List the names that one statement binds: by assignment or ``with``; what is imported got its value elsewhere."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.With | ast.AsyncWith):
        targets = [item.optional_vars for item in statement.items if item.optional_vars is not None]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


@functools.lru_cache(maxsize=256)
def _source(path: str) -> ast.Module | None:
    try:
        return ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
