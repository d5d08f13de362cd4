"""What a killed parent leaves: children that hold nothing, and so no session."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.drivers.rows import Row
from tests.matrix.control import Control
from tests.matrix.families import Family
from tests.matrix.results import Results
from tests.matrix.rows import ROWS
from tests.matrix.silence.trial import PATIENCE_S, QUICK, ways
from tests.support.process import Script

pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


@ways(list(ROWS.values()), QUICK[:1])
def test_sessions_of_a_killed_parent_end_although_its_child_lives(
    row: Row,
    family: Family,
    transport: str,
    fork: str,
    results: Results,
    tmp_path: Path,
    script: Callable[..., Script],
) -> None:
    """A child that holds nothing keeps nothing alive: no session, no transaction, no lock."""
    reason = family.impossible.get(transport) or family.impossible.get("orphan", "")
    if reason:
        results.note_impossible(row.name, "Silence", f"{transport}, {fork}, the parent is killed", reason)
        pytest.skip(reason)

    with family.relay(transport, tmp_path) as relay, Control(tmp_path / "control", family, relay) as control:
        url = family.url(row, transport, relay, tmp_path)
        run = script([sys.executable, "-m", "tests.matrix.silence", row.name, url, fork, str(control.path), "orphans"])
        told: dict[str, Any] = json.loads(run.wait_for(r"^\{.*\}$", PATIENCE_S).group())
        run.stop(signal.SIGKILL)
        family.release()
        left = dict(told["sessions"])
        deadline = time.monotonic() + 30  # a session that is kept would outlive it
        while left and time.monotonic() < deadline:
            left = {state: one for state, one in left.items() if family.has_session(one)}
        lives = psutil.Process(told["child"]).status() != psutil.STATUS_ZOMBIE

    for state in told["sessions"]:
        results.note(row.name, "Silence", passed=lives and state not in left)
    assert lives
    assert left == {}
