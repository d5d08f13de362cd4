"""What every driver claims: no interrupt at any moment gives a wrong answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from tests.drivers.contract.marks import every_row, on_unix
from tests.drivers.rows import Row
from tests.support.process import Script

pytestmark = on_unix


@pytest.mark.timeout(300)
@every_row
def test_no_interrupt_at_any_moment_gives_a_wrong_answer(row: Row, url: str, script: Callable[..., Script]) -> None:
    """After 500 real signals at random moments every answer is right, or there is none: no hang, nothing masked."""
    run = script([sys.executable, "-W", "ignore", "-m", "tests.drivers.fuzz", row.name, url, "500"])

    assert run.wait(240) == 0, run.output
    counts = json.loads(run.wait_for(r"^\{.*\}$").group())

    assert counts.pop("interrupts") == 500
    assert {name: number for name, number in counts.items() if number} == {
        name: number for name, number in counts.items() if name in {"uninterrupted", "right again", "refused"}
    }
