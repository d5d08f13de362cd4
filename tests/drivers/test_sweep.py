"""Interrupts at chosen points of what a task does, for every driver: a share of what ``make sweep`` does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.drivers.sweep_rows import SWEPT, url_of
from tests.support.process import Script

#: Points of each passage, in `make test`; ``SWEEP=full`` has all of them.
_POINTS = "8"

pytestmark = pytest.mark.timeout(3600 if os.environ.get("SWEEP") == "full" else 300)


@pytest.mark.parametrize("name", SWEPT)
def test_interrupt_at_any_point_reaches_the_task_and_harms_nobody(
    name: str, request: pytest.FixtureRequest, script: Callable[..., Script]
) -> None:
    """It is not masked; what is asked next is right, or refused by name; a row is there if and only if it was said."""
    is_full = os.environ.get("SWEEP") == "full"
    command = [sys.executable, "-W", "ignore", "-m", "tests.drivers.sweep", name, url_of(name, request)]

    run = script([*command, *([] if is_full else ["--points", _POINTS])])

    assert run.wait(3600 if is_full else 240) == 0, run.output
    said: dict[str, Any] = json.loads(run.wait_for(r"^\{.*\}$").group())
    print(name, json.dumps(said["counts"]))
    assert said["findings"] == {}
    assert said["counts"]["interrupts"] > 50
