"""Whose settings a command works with: found where a worker finds them, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process import Script

#: A command that says whose settings it has, and where they connect to.
PROGRAM = """
import argparse, sys
from taskconn.cli import _target
from taskconn.errors import TaskconnError
parser = argparse.ArgumentParser(prog="taskconn")
_target.add_arguments(parser)
try:
    chosen = _target.choose(parser.parse_args())
    print("FOUND", chosen.words, [chosen.registry.pool("default").target().address])
except TaskconnError as error:
    print(type(error).__name__, error)
"""

SOURCES = {
    "shop.py": """
        import celery
        app = celery.Celery("shop", set_as_current=False, broker="memory://")
        app.conf.imports = ["taskconn.celery"]
        app.conf.taskconn_databases = {"default": "mysql://app/shop"}
    """,
    "late.py": """
        import celery
        app = celery.Celery("late", broker="memory://")
        app.conf.imports = ["late_tasks"]
    """,
    "late_tasks.py": """
        import taskconn
        taskconn.configure({"default": "mysql://late/shop"})
    """,
    "settings.py": "TASKCONN_DATABASES = {'default': 'mysql://rq/shop'}",
    "own.py": """
        import taskconn
        taskconn.configure({"default": "mysql://own/shop"})
        registry = taskconn.Registry()
        registry.add("default", "mysql://registry/shop")
        number = 5
    """,
    "broken.py": "import nowhere_to_be_found",
    "talkative.py": "raise RuntimeError('there is nobody at mysql://app:s3cret@db/shop')",
}


@pytest.fixture
def say(script: Callable[..., Script], tmp_path: Path) -> Callable[..., str]:
    """Give a function that runs the command in a folder with the modules above; gives what it prints."""
    for name, source in SOURCES.items():
        lines = source.strip("\n").splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        (tmp_path / name).write_text("\n".join(line[indent:] for line in lines))

    def run(*words: str, **environ: str) -> str:
        return script(PROGRAM, *words, cwd=tmp_path, environ=environ).succeed()

    return run


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-A", "shop"], "Celery app 'shop' ['app']"),
        (["--app", "shop:app"], "Celery app 'shop:app' ['app']"),
        (["-A", "late"], "Celery app 'late' ['late']"),
        (["-c", "settings"], "settings module 'settings' ['rq']"),
        (["--module", "own"], "module 'own' ['own']"),
        (["--module", "own:registry"], "registry 'own:registry' ['registry']"),
        ([], "the environment ['environment']"),
    ],
    ids=["app", "app-attribute", "configured-by-a-task-module", "rq", "module", "registry", "environment"],
)
def test_settings_are_those_that_a_worker_has(say: Callable[..., str], words: list[str], found: str) -> None:
    """Each argument leads to the same database as the worker that it is borrowed from, in the current folder."""
    assert f"FOUND {found}" in say(*words, TASKCONN_URL="mysql://environment/shop")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--module", "broken"], "CommandTargetError The command can't work with 'broken': it can't be imported (Mod"),
        (["-A", "broken"], "CommandTargetError The command can't work with 'broken'"),
        (["--module", "talkative"], "RuntimeError: there is nobody at mysql://app:***@db/shop"),
        (["-c", "nothing_here"], "No module named 'nothing_here'"),
        (["--module", "own:number"], "it is of type int, which is no registry"),
        (["--module", "own:absent"], "has no attribute 'absent'"),
        ([], "NotConfiguredError"),
    ],
    ids=["broken", "broken-app", "secret", "absent", "no-registry", "no-attribute", "nothing"],
)
def test_what_cant_be_had_is_named(say: Callable[..., str], words: list[str], message: str) -> None:
    """A module that can't be imported, or is none of taskconn's, is one error, and no other database is taken."""
    assert message in say(*words)


def test_two_places_are_refused(script: Callable[..., Script]) -> None:
    """A command works with one set of settings."""
    refused = script(PROGRAM, "-A", "shop", "-c", "settings")

    assert refused.wait() == 2
    assert "not allowed with argument" in refused.output
