"""Whatever a child does with its parent's connection, the parent's session is as it was."""

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
from tests.matrix.conftest import Control
from tests.matrix.families import TRANSPORTS, Family
from tests.matrix.results import Results
from tests.matrix.rows import IS_FULL, ROWS, pick
from tests.matrix.silence.combinations import FORKS, combinations
from tests.support.process import Script

#: Every driver, transport and fork is in it, and everything that a child may do.
_QUICK = tuple(zip(TRANSPORTS, FORKS, strict=True))
_FULL = tuple((transport, fork) for transport in TRANSPORTS for fork in FORKS)

ways = pytest.mark.parametrize(
    ("row", "transport", "fork"),
    [
        pytest.param(row, transport, fork, id=f"{row.name}-{transport}-{fork}".replace(" ", "-"))
        for row in ROWS.values()
        for transport, fork in (_FULL if IS_FULL else pick(row, _QUICK if row.has_server else _QUICK[:1]))
    ],
)


#: Longest wait for a program, in seconds.
_PATIENCE_S = 300

pytestmark = pytest.mark.timeout(_PATIENCE_S + 60)


@ways
def test_child_leaves_its_parents_session_alone(
    row: Row,
    family: Family,
    transport: str,
    fork: str,
    results: Results,
    tmp_path: Path,
    script: Callable[..., Script],
) -> None:
    """Session, transaction and next answer are the parent's; of the child there was no byte, and no descriptor left."""
    all_of_them = combinations(row, family)
    reason = family.impossible.get(transport, "")
    for state, action, why in all_of_them:
        if reason or why:
            results.note_impossible(row.name, "Silence", f"{transport}, {fork}, {state}, {action}", reason or why)
    if reason:
        pytest.skip(reason)
    wanted = [(state, action) for state, action, why in all_of_them if not why]

    with family.relay(transport, tmp_path) as relay, Control(tmp_path / "control", family, relay) as control:
        url = family.url(row, transport, relay, tmp_path)
        run = script(
            [sys.executable, "-m", "tests.matrix.silence", row.name, url, fork, str(control.path), json.dumps(wanted)],
        )
        code = run.wait(_PATIENCE_S)

    said = [json.loads(line) for line in run.output.splitlines() if line.startswith('{"state"')]
    found = {(one["state"], one["action"]): one["facts"] for one in said}
    broken = []
    for state, action in wanted:
        facts = found.get((state, action), {"it was run": False})
        wrong = [name for name, holds in facts.items() if not holds]
        results.note(row.name, "Silence", passed=not wrong)
        if wrong:
            broken.append(f"{transport}, {fork}, {state}, {action}: not {', '.join(wrong)}")
    noise = [line for line in run.output.splitlines() if not line.startswith('{"state"')]
    if row.is_bare:  # a child's cursor that is collected says that its connection is lost, which is right
        noise = []
    assert (broken, noise, code) == ([], [], 0), "\n".join([*broken, *noise])


@pytest.mark.parametrize(
    ("row", "transport", "fork"),
    [
        pytest.param(row, transport, fork, id=f"{row.name}-{transport}-{fork}".replace(" ", "-"))
        for row in ROWS.values()
        for transport, fork in (_FULL if IS_FULL else pick(row, _QUICK[:1]))
    ],
)
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
        told: dict[str, Any] = json.loads(run.wait_for(r"^\{.*\}$", _PATIENCE_S).group())
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
