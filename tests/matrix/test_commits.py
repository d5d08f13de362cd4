"""A COMMIT that nobody answers, over each transport: nobody knows the outcome, whatever the library makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskconn.errors import CommitOutcomeUnknownError
from tests.drivers.rows import Row
from tests.matrix.families import TRANSPORTS, Family
from tests.matrix.rows import ROWS
from tests.matrix.scene import Scene

#: The alias's `settle_timeout`, in seconds.
_SETTLE_S = 0.3

_SETTLED = [row for row in ROWS.values() if row.family in {"mysql", "postgresql"}]


def _no_answer(scene: Scene, value: str) -> Any:
    with scene.lease() as db:
        scene.row.write(db, value)
        scene.lose("black hole")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in _SETTLED])
def test_commit_without_an_answer_is_of_unknown_outcome(
    row: Row, family: Family, transport: str, tmp_path: Path
) -> None:
    """The time is up: a library that speaks TLS may call that a failure of TLS, and one that reads a timeout."""
    with Scene(row, family, transport, tmp_path, {"settle_timeout": _SETTLE_S}) as scene:
        with pytest.raises(CommitOutcomeUnknownError, match="safe to repeat"):
            _no_answer(scene, f"{row.name} {transport}")

        assert scene.registry.pool("orders").stats()["open"] == 0
        assert scene.works()
