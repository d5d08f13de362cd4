"""Find connections that will cross a fork in the source, without importing anything: the rules TC001 to TC007."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from . import _openers
from ._findings import RULES, Finding
from ._source import Names, at_import, calls_in

__all__ = ["check_file", "check_source", "check_tree", "is_silenced", "python_files", "silenced_lines"]

#: Folders that are not the user's own code.
_FOREIGN = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})

#: What the comment of a line that is to be left alone begins with.
_NOQA = "noqa"

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """
    List the Python files in *paths*, folders with all that is below them, in order; others' code is left out.

    Raises:
        FileNotFoundError: One of *paths* is not there.
    """
    for path in paths:
        if path.is_dir():
            for found in sorted(path.rglob("*.py")):
                folders = found.relative_to(path).parts[:-1]
                is_own = not any(folder in _FOREIGN or folder.startswith(".") for folder in folders)
                if is_own and found.is_file():  # editors lock by links that lead nowhere
                    yield found
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(path)


def check_file(path: Path) -> list[Finding]:
    """
    Check one file.

    Raises:
        SyntaxError: It is no Python that this interpreter can read.
        OSError: It can't be read at all.
    """
    try:
        with tokenize.open(path) as file:
            source = file.read()
    except UnicodeDecodeError as error:
        raise SyntaxError(f"it is not of its encoding ({error})") from error
    return check_source(source, str(path))


def check_source(source: str, path: str) -> list[Finding]:
    """
    Check a module's *source*, as the file *path*; lines whose comment is `noqa`, or `noqa: TC001`, are left out.

    Raises:
        SyntaxError: It is no Python that this interpreter can read.
    """
    try:
        found, lines = check_tree(ast.parse(source, path), path), silenced_lines(source)
    except (
        ValueError,
        RecursionError,
        tokenize.TokenError,
    ) as error:  # null bytes, before Python 3.12; a thousand brackets
        raise SyntaxError(str(error)) from error
    return [finding for finding in found if not is_silenced(finding, lines)]


def check_tree(tree: ast.Module, path: str) -> list[Finding]:
    """Check a module's syntax tree."""
    names = Names(tree)
    found = [*_Importing(tree, names, path).findings(), *_anywhere(tree, names, path)]
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule.code))


class _Importing:
    """Follow what a module does as it is imported: what it opens and keeps, and what it closes again."""

    def __init__(self, tree: ast.Module, names: Names, path: str) -> None:
        self._tree, self._names, self._path = tree, names, path
        self._engines: set[str] = set()
        self._opened: list[tuple[str, Finding]] = []

    def findings(self) -> list[Finding]:
        """Give what stays open when the import is over."""
        for statement in at_import(self._tree):
            closed = {id(call) for call in self._closed_by_with(statement)}
            for call in calls_in(statement):
                if id(call) not in closed:
                    self._look(call, _target(statement))
            self._note_engine(statement)
        return [finding for _, finding in self._opened]

    def _look(self, call: ast.Call, target: str) -> None:
        name = self._names.dotted(call.func)
        owner, _, method = name.rpartition(".")
        if name in _openers.CONNECTS:
            message = f"a {_openers.CONNECTS[name]} connection is opened by {name}() as the module is imported"
            self._note(target, "TC001", message, call)
        elif name in _openers.POOLS and not _is_false(call, "open"):
            message = f"{name}() connects to {_openers.POOLS[name]} as the module is imported"
            self._note(target, "TC003", message, call)
        elif method in {"close", "dispose", "closeall", "shutdown"}:
            self._opened = [(kept, finding) for kept, finding in self._opened if kept != owner]
        elif owner in self._engines and method in _openers.USES_OF_ENGINE:
            self._note(owner, "TC002", f"the engine `{owner}` is used as the module is imported", call)
        elif method == "create_all":
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                if (engine := self._names.dotted(argument)) in self._engines:
                    self._note(engine, "TC002", f"the engine `{engine}` is used as the module is imported", call)

    def _note(self, target: str, code: str, message: str, call: ast.Call) -> None:
        self._opened.append((target, _finding(code, message, self._path, call)))

    def _note_engine(self, statement: ast.stmt) -> None:
        value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
        if (
            isinstance(value, ast.Call)
            and self._names.dotted(value.func) in _openers.ENGINES
            and not self._is_poolless(value)
        ):
            self._engines.add(_target(statement))

    def _is_poolless(self, call: ast.Call) -> bool:
        return any(
            keyword.arg == "poolclass" and self._names.dotted(keyword.value).endswith("NullPool")
            for keyword in call.keywords
        )

    def _closed_by_with(self, statement: ast.stmt) -> Iterator[ast.Call]:
        """List the calls whose connection the end of a ``with`` block closes."""
        for item in statement.items if isinstance(statement, (ast.With, ast.AsyncWith)) else ():
            outer = item.context_expr
            if not isinstance(outer, ast.Call):
                continue
            name = self._names.dotted(outer.func)
            if name in _openers.CLOSED_BY_WITH:
                yield outer
            elif name == "contextlib.closing":
                yield from (argument for argument in outer.args if isinstance(argument, ast.Call))


def _anywhere(tree: ast.Module, names: Names, path: str) -> Iterator[Finding]:
    """Find what is wrong wherever it stands: hooks, task classes, the order of decorators."""
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            yield from _wrong_order(node, names, path)
            hooks = {names.dotted(_function_of(decorator)) for decorator in node.decorator_list}
            if hooks & _openers.FORK_HOOKS:
                yield from _closing_disposals(node, path)
            if hooks & _openers.PARENT_HOOKS:
                yield from _opened_in_parent(node, names, path)
        elif isinstance(node, ast.ClassDef) and any(_is_task_class(base, names) for base in node.bases):
            yield from _kept_connections(node, names, path)


def _wrong_order(function: ast.FunctionDef | ast.AsyncFunctionDef, names: Names, path: str) -> Iterator[Finding]:
    injection: ast.expr | None = None
    for decorator in function.decorator_list:
        name = names.dotted(_function_of(decorator))
        if name == "taskconn.with_db":
            injection = injection or decorator
        elif injection is not None and (name.endswith(".task") or name in {"celery.shared_task", "rq.decorators.job"}):
            message = f"`@with_db` stands above `@{ast.unparse(decorator)}` of `{function.name}`"
            yield _finding("TC006", message, path, injection)


def _closing_disposals(function: ast.AST, path: str) -> Iterator[Finding]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "dispose" and not _is_false(node, "close"):
            message = f"`{ast.unparse(node)}` says goodbye over what the parent has opened"
            yield _finding("TC004", message, path, node)


def _opened_in_parent(function: ast.AST, names: Names, path: str) -> Iterator[Finding]:
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    if any(isinstance(call.func, ast.Attribute) and call.func.attr == "close" for call in calls):
        return
    in_with = {id(item.context_expr) for node in ast.walk(function) for item in getattr(node, "items", ())}
    for call in calls:
        if _opens(name := names.dotted(call.func)) and id(call) not in in_with:
            yield _finding("TC007", f"{name}() is called in the worker before its children are forked", path, call)


def _kept_connections(definition: ast.ClassDef, names: Names, path: str) -> Iterator[Finding]:
    for method in (node for node in ast.walk(definition) if isinstance(node, _FUNCTIONS)):
        for node in ast.walk(method):
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                continue
            value = node.value
            if isinstance(value, ast.Call) and "." in _target(node) and _opens(names.dotted(value.func)):
                message = f"`{_target(node)}` of the task class `{definition.name}` keeps a connection"
                yield _finding("TC005", message, path, node)


def _opens(name: str) -> bool:
    return name in _openers.CONNECTS or name in _openers.POOLS


def _is_task_class(base: ast.expr, names: Names) -> bool:
    name = names.dotted(base)
    return name in {"celery.Task", "celery.app.task.Task"} or name.endswith((".Task", "app.Task"))


def _finding(code: str, message: str, path: str, node: ast.expr | ast.stmt) -> Finding:
    return Finding(RULES[code], message, path, node.lineno, node.col_offset + 1)


def _function_of(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _target(statement: ast.AST) -> str:
    """Give the name that a statement assigns to; "" if there is not one."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    target = targets[0] if len(targets) == 1 else None
    return ast.unparse(target) if isinstance(target, (ast.Name, ast.Attribute)) else ""


def _is_false(call: ast.Call, name: str) -> bool:
    return any(
        keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        for keyword in call.keywords
    )


def silenced_lines(source: str) -> dict[int, frozenset[str]]:
    """Read the comments: line -> codes that are to be left alone there, none of which means all."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            words = token.string.lstrip("# ")
            if words.lower().startswith(_NOQA):
                rest = words[len(_NOQA) :].partition("--")[0].lstrip(":")
                found[token.start[0]] = frozenset(rest.replace(",", " ").upper().split())
    return found


def is_silenced(finding: Finding, lines: Mapping[int, frozenset[str]]) -> bool:
    """Tell whether a comment leaves *finding* alone."""
    codes = lines.get(finding.line)
    return codes is not None and (not codes or finding.rule.code in codes)
