from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.guard.conftest import reports
from tests.zoo.table import BROKEN, SOUND, Case


@pytest.mark.parametrize("case", [case for case in BROKEN if case.guard], ids=lambda case: case.name)
def test_guard_finds_the_broken_one(run_case: Callable[[Case], str], case: Case) -> None:
    """Of each broken application the guard reports the connection that crosses, and the line that opened it."""
    output = run_case(case)

    found = reports(output)
    assert found, output
    assert {report.kind for report in found} == {case.kind}, output
    assert any(f"{case.guard} in " in report.where for report in found), output
    file = case.guard.partition(":")[0]
    assert all(f"{file}:" in report.where for report in found), output


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case.name)
def test_guard_leaves_the_sound_one_alone(run_case: Callable[[Case], str], case: Case) -> None:
    """Of a sound application nothing is reported."""
    output = run_case(case)

    assert reports(output) == [], output
    assert "forks with" not in output
    assert "could not look" not in output
