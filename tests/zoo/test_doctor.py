from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.process import ROOT
from tests.zoo.table import BROKEN, SOUND, Case

#: Applications that are looked at at a time.
_AT_ONCE = 3

#: Of which the doctor imports what a worker does; the others do everything as programs.
CASES = {case.name: case for case in (*BROKEN, *SOUND) if case.doctor or (not case.kind and case.run != "program")}


def _examine(case: Case, environ: dict[str, str]) -> list[dict[str, Any]]:
    words = {
        "celery": ["celery", "-A", case.module],
        "rq": ["rq", "-w", "taskconn.rq.Worker", case.module],
        "module": ["module", case.module],
    }[case.run]
    command = [sys.executable, "-m", "taskconn", "doctor", *words, "--format", "json", "--fail-on", "never"]
    paths = os.pathsep.join([str(case.folder), str(case.folder / "site-packages"), str(ROOT)])
    environ = {**os.environ, **environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=case.folder, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest, zoo_environ: dict[str, str]) -> Iterator[dict[str, Future[Any]]]:
    """Give what the doctor finds in each application that is to be tested, several looked at at once."""
    asked = {item.callspec.params["name"] for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(_AT_ONCE) as executor:
        yield {
            name: executor.submit(_examine, case, zoo_environ)
            for name, case in CASES.items()
            if name in asked and all(importlib.util.find_spec(package) for package in case.needs)
        }


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if case.doctor])
def test_doctor_finds_the_broken_one(findings: dict[str, Future[Any]], name: str) -> None:
    """Of each broken application the doctor names the line that opened what would cross the fork, or will open it."""
    if name not in findings:
        pytest.skip(f"one of {CASES[name].needs} is not installed")
    found = findings[name].result()

    places = {f"{one['path']}:{one['line']}" for one in found if one["severity"] != "info" and one["path"]}
    assert CASES[name].doctor in places, found
    assert {place.partition(":")[0] for place in places} == {CASES[name].doctor.partition(":")[0]}, found
    kinds = {one["message"].partition(" ")[0] for one in found if one["code"] == "TC101"}
    assert kinds <= {CASES[name].kind}, found


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if not case.kind])
def test_doctor_leaves_the_sound_one_alone(findings: dict[str, Future[Any]], name: str) -> None:
    """Of a sound application nothing is reported that is an error or a risk."""
    if name not in findings:
        pytest.skip(f"one of {CASES[name].needs} is not installed")

    assert [one for one in findings[name].result() if one["severity"] != "info"] == []
