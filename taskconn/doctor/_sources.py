"""What the sources and variables of the imported modules tell: lint's findings, pools, dear TLS contexts."""

from __future__ import annotations

import ast
import contextlib
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .._guard import _bindings
from .._guard._stacks import Place, file_of, is_users, shortened
from ._at_fork import finding
from ._findings import Finding
from ._source import Names
from .lint import check_file, is_silenced, silenced_lines

__all__ = ["look", "without_silenced"]

#: What lint finds and a fork does not show: it happens in hooks, or later.
_FROM_LINT = frozenset({"TC004", "TC005", "TC006", "TC007"})

#: Arguments of PyMySQL's `connect` by which no context is made.
_WITHOUT_CONTEXT = frozenset({"ssl", "ssl_disabled", "unix_socket"})


def look() -> list[Finding]:
    """Look at the user's modules that are imported now."""
    modules = [module for module in list(sys.modules.values()) if is_users(file_of(module))]
    found = list(_pools(modules))
    for path in sorted({file_of(module) for module in modules}):
        if path.endswith(".py"):
            with contextlib.suppress(OSError, SyntaxError, ValueError):
                found += [
                    one._replace(path=shortened(one.path))
                    for one in check_file(Path(path))
                    if one.rule.code in _FROM_LINT
                ]
                found += _contexts(path)
    return found


def without_silenced(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out what a comment in its own line silences, as lint does, and what is found in a line a second time."""
    seen: set[tuple[str, str, int]] = set()
    lines: dict[str, Any] = {}
    kept = []
    for one in findings:
        if one.path not in lines:
            lines[one.path] = {}
            with contextlib.suppress(OSError, SyntaxError, ValueError, tokenize.TokenError):
                path = next((full for full in _candidates(one.path) if full.is_file()), None)
                if path is not None:
                    with tokenize.open(path) as file:
                        lines[one.path] = silenced_lines(file.read())
        found = (one.rule.code, one.path or one.message, one.line)
        if one.rule.code == "TC005" and found in seen:
            continue
        seen.add(found)
        if not is_silenced(one, lines[one.path]):
            kept.append(one)
    return kept


def _candidates(path: str) -> Iterator[Path]:
    if path:
        yield from (Path(folder) / path for folder in ["", *sys.path])


def _pools(modules: Iterable[ModuleType]) -> Iterator[Finding]:
    seen: set[int] = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            describe = _KINDS.get(f"{type(value).__module__}.{type(value).__qualname__}")
            if describe is None or id(value) in seen:
                continue
            place = _bindings.of_module(module, (name,))
            words = describe(value)
            if place is not None and words:
                seen.add(id(value))
                yield finding("TC104", f"`{name}` is made before the fork: {words}", place)


def _engine(engine: Any) -> str:
    pool = engine.pool
    if type(pool).__name__ == "NullPool":
        return ""
    recycle = getattr(pool, "_recycle", -1)
    parts = [
        f"{type(pool).__name__} of {engine.dialect.name}+{engine.dialect.driver}",
        f"pool_pre_ping {'on' if getattr(pool, '_pre_ping', False) else 'off'}",
        f"pool_recycle {'never' if recycle < 0 else f'{recycle} s'}",
    ]
    return ", ".join(parts)


def _psycopg_pool(pool: Any) -> str:
    state = "closed" if pool.closed else "open"
    return f"psycopg_pool of {pool.min_size} to {pool.max_size}, {state}"


#: Class -> words for its settings; "" if it keeps nothing.
_KINDS: dict[str, Callable[[Any], str]] = {
    "sqlalchemy.engine.base.Engine": _engine,
    "psycopg_pool.pool.ConnectionPool": _psycopg_pool,
    "psycopg_pool.pool_sync.ConnectionPool": _psycopg_pool,
}


def _contexts(path: str) -> Iterator[Finding]:
    """Find plain connects of PyMySQL that make a context each."""
    tree = ast.parse(Path(path).read_bytes())
    names = Names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and names.dotted(node.func) in {"pymysql.connect", "pymysql.Connect"}:
            given = {keyword.arg for keyword in node.keywords}
            if None not in given and given.isdisjoint(_WITHOUT_CONTEXT):
                yield finding("TC110", "pymysql.connect() without `ssl`", Place(path, node.lineno, ""))
