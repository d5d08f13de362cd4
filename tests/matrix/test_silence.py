"""Whatever a child does with its parent's connection, the parent's session is as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drivers.rows import Row
from tests.matrix.families import Family
from tests.matrix.results import Results
from tests.matrix.silence.trial import OTHERS, PATIENCE_S, try_all, ways
from tests.support.process import Script

pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


@ways(OTHERS)
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
    assert try_all(row, family, transport, fork, results, tmp_path, script) == []
