"""A module's source as a syntax tree: which names stand for what, and which code runs when it is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["Names", "at_import", "calls_in", "is_main_guard"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Names:
    """
    Resolve names of a module to the dotted names that they were imported by.

    ``import pymysql as db`` and ``from pymysql import connect`` both make a call ``pymysql.connect``.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.name if alias.asname else alias.name.partition(".")[0]
                    self._imported[alias.asname or name] = name
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def dotted(self, node: ast.AST) -> str:
        """Give the dotted name that *node* stands for; "" if it is not a plain name, with attributes perhaps."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        return ""


def is_main_guard(node: ast.stmt) -> bool:
    """Tell whether *node* is ``if __name__ == "__main__":``, which no worker runs."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
        and isinstance(node.test.ops[0], ast.Eq)
    )


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """List the statements that run as the module is imported: its own, and those of class bodies, in order."""
    yield from _statements(tree.body)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if is_main_guard(statement) or _is_type_checking(statement):
            continue
        yield statement
        if not isinstance(statement, _FUNCTIONS):
            for field in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _statements(handler.body)


def calls_in(statement: ast.stmt) -> Iterator[ast.Call]:
    """
    List the calls that *statement* itself makes as it runs, outermost first.

    Not those of statements inside it, nor those in the bodies of functions; of a ``def`` the defaults and decorators.
    """
    roots: list[ast.AST] = []
    for field, value in ast.iter_fields(statement):
        if field in {"body", "orelse", "finalbody", "handlers"}:
            continue
        if field == "args":
            roots += [default for default in (*value.defaults, *value.kw_defaults) if default is not None]
        else:
            roots += [node for node in (value if isinstance(value, list) else [value]) if isinstance(node, ast.AST)]
    while roots:
        node = roots.pop(0)
        if isinstance(node, _FUNCTIONS):
            continue
        if isinstance(node, ast.Call):
            yield node
        roots[:0] = ast.iter_child_nodes(node)


def _is_type_checking(statement: ast.stmt) -> bool:
    test = statement.test if isinstance(statement, ast.If) else None
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"
