"""One program of parent and children, run behind a relay: which there are, and what came of one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.rows import Row
from tests.matrix.control import Control
from tests.matrix.families import TRANSPORTS, Family
from tests.matrix.results import Results
from tests.matrix.rows import IS_FULL, ROWS, pick
from tests.matrix.silence.combinations import FORKS, combinations
from tests.support.process import Script

#: In the short matrix every driver, transport and fork is in it, and everything that a child may do.
QUICK = tuple(zip(TRANSPORTS, FORKS, strict=True))
_FULL = tuple((transport, fork) for transport in TRANSPORTS for fork in FORKS)

#: Longest wait for a program, in seconds.
PATIENCE_S = 300


#: Rows whose library stands below SQLAlchemy, and the others of each family.
SQLALCHEMY = [row for row in ROWS.values() if row.name.startswith("sqlalchemy")]
MYSQL = [row for row in ROWS.values() if row.family == "mysql" and row not in SQLALCHEMY]
OTHERS = [row for row in ROWS.values() if row.family != "mysql" and row not in SQLALCHEMY]


def ways(rows: list[Row], quick: tuple[tuple[str, str], ...] = QUICK) -> Any:
    """Mark a test that is run for each row, transport and fork; in the short matrix for the *quick* ones."""
    return pytest.mark.parametrize(
        ("row", "transport", "fork"),
        [
            pytest.param(row, transport, fork, id=f"{row.name}-{transport}-{fork}".replace(" ", "-"))
            for row in rows
            for transport, fork in (_FULL if IS_FULL else pick(row, quick if row.has_server else quick[:1]))
        ],
    )


def try_all(
    row: Row,
    family: Family,
    transport: str,
    fork: str,
    results: Results,
    folder: Path,
    script: Callable[..., Script],
) -> list[str]:
    """Run all combinations of state and action, and give those that did not hold, with all that should not be."""
    all_of_them = combinations(row, family)
    reason = family.impossible.get(transport, "")
    for state, action, why in all_of_them:
        if reason or why:
            results.note_impossible(row.name, "Silence", f"{transport}, {fork}, {state}, {action}", reason or why)
    if reason:
        pytest.skip(reason)
    wanted = [(state, action) for state, action, why in all_of_them if not why]

    with family.relay(transport, folder) as relay, Control(folder / "control", family, relay) as control:
        url = family.url(row, transport, relay, folder)
        run = script(
            [sys.executable, "-m", "tests.matrix.silence", row.name, url, fork, str(control.path), json.dumps(wanted)],
        )
        code = run.wait(PATIENCE_S)

    lines = run.output.splitlines()
    said = [json.loads(line) for line in lines if line.startswith('{"state"')]
    found = {(one["state"], one["action"]): one["facts"] for one in said}
    broken = [] if code == 0 else [f"the program ended with {code}:\n{run.output[-3000:]}"]
    for state, action in wanted:
        facts = found.get((state, action), {"it was run": False})
        wrong = [name for name, holds in facts.items() if not holds]
        results.note(row.name, "Silence", passed=not wrong)
        if wrong:
            broken.append(f"{transport}, {fork}, {state}, {action}: not {', '.join(wrong)}")
    if row.is_bare:  # a child's cursor that is collected says that its connection is lost, which is right
        return broken
    return broken + [line for line in lines if not line.startswith('{"state"')]
