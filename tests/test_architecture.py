from __future__ import annotations

import ast
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskconn import errors

pytestmark = pytest.mark.portable

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "taskconn"
FILES = sorted(PACKAGE.rglob("*.py"))

#: The repository's folders of Python.
EVERYWHERE = [PACKAGE, *(ROOT / name for name in ("benchmarks", "examples", "tests"))]

#: A file that has as many lines has a noun inside that wants its own.
TOO_MANY_LINES = 300

#: Only here: who am I, and what happens at a fork.
PROCESS_FILE = PACKAGE / "_process.py"

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


def _errors() -> list[type[errors.TaskconnError]]:
    """Return the errors that are raised: the families have no fields, and so no message."""
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [value for value in found if issubclass(value, errors.TaskconnError) and value._fields]


each_error = pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)


def test_imports_point_downwards_only() -> None:
    """The layers of docs/design.md hold, and each foreign library is imported in its own place alone."""
    pytest.importorskip("importlinter", reason="comes with the dependency group `lint`")
    check = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache', '--no-logo'])"

    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@each_file
def test_file_is_read_in_one_sitting(path: Path) -> None:
    """Each file of the library is below 300 lines, and opens with a sentence on its role."""
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) < TOO_MANY_LINES
    assert ast.get_docstring(ast.parse(text)), "the docstring is missing"


def test_files_beside_the_library_are_read_in_one_sitting_too() -> None:
    """Tests, examples and benchmarks keep to the same number of lines: one subject for each file."""
    files = {path.relative_to(ROOT).as_posix(): path for top in EVERYWHERE for path in top.rglob("*.py")}
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files.items()}

    too_long = {name: number for name, number in lines.items() if number >= TOO_MANY_LINES}

    assert not too_long


@each_file
def test_nothing_inside_imports_the_package_root(path: Path) -> None:
    """The root gathers the public names; a module that imported it would import everything."""
    assert [name for name in _imported_modules(path) if name == "taskconn"] == []


@each_file
def test_process_identity_is_asked_in_one_file(path: Path) -> None:
    """Only `_process.py` asks for the process id, hooks into forks or forks; test helpers and the doctor fork, too."""
    if path in {PROCESS_FILE, PACKAGE / "testing.py", PACKAGE / "doctor" / "_at_fork.py"}:
        return
    used = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }

    assert used & {"getpid", "register_at_fork", "fork"} == set()


@each_file
def test_exceptions_from_the_checks_have_a_code_and_a_reason(path: Path) -> None:
    """Each `noqa`, `type: ignore` and `pragma` names what it silences, and says why on the same line."""
    silenced = [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(_SILENCED, line)]

    assert [line.strip() for line in silenced if not re.search(_SILENCED_WITH_REASON, line)] == []


_SILENCED = r"#\s*(noqa|type:\s*ignore|pragma:)"
_SILENCED_WITH_REASON = (
    r"#\s*(noqa:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w,\s-]+\]|pragma: no (cover|branch))\s*(#|-+|:|—)+\s*\w+"
)


@each_error
def test_error_survives_pickle(kind: type[errors.TaskconnError]) -> None:
    """An error reaches another process whole: class, fields and message."""
    error = kind(*_sample_fields(kind))

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (again.args, str(again)) == (error.args, str(error))
    assert vars(again) == vars(error)


@each_error
def test_error_is_rebuilt_from_json(kind: type[errors.TaskconnError]) -> None:
    """Celery's result back end stores the class and its `args` as JSON; both are enough."""
    error = kind(*_sample_fields(kind))

    again = kind(*json.loads(json.dumps(error.args)))

    assert (vars(again), str(again)) == (vars(error), str(error))


@each_error
def test_message_is_whole_and_leads_to_the_manual(kind: type[errors.TaskconnError]) -> None:
    """A message has what happened and what to do on lines of their own, no gap, and a link to its heading."""
    error = kind(*_sample_fields(kind))

    *sentences, link = str(error).splitlines()

    assert len(sentences) in {2, 3}
    assert link == f"See docs/errors.md#{kind.__name__.lower()}"
    assert str(_sample_fields(kind)[0]) in str(error)
    assert not re.search(r"\{\w*\}", str(error).replace("{'", "")), "a field was not filled in"
    assert isinstance(error, tuple(_families())), "users catch families"


def _families() -> Iterator[type[errors.TaskconnError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.TaskconnError) and not value._fields:
            yield value


def _sample_fields(kind: type[errors.TaskconnError]) -> list[str | int]:
    """Build a value for each field of an error: its annotation says whether it is a number."""
    types: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        types.update(vars(base).get("__annotations__", {}))
    return [4711 + place if types[name] == "int" else f"<{name}>" for place, name in enumerate(kind._fields)]


def _imported_modules(path: Path) -> Iterator[str]:
    """Yield the full name of each module of taskconn that a file imports, wherever the import stands."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (_module_or_owner(module, alias.name) for alias in node.names)


def _module_or_owner(module: str, name: str) -> str:
    """Return ``module.name`` if that is a module of its own, else *module*, which holds the name."""
    place = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if place.is_dir() or place.with_suffix(".py").exists() else module
