"""As `test_liveness.py`, where nothing tells of the loss, so that it is waited for; other processes run meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.drivers.rows import Row
from tests.matrix.families import Family
from tests.matrix.results import Results
from tests.matrix.scene import LOUD, SILENT, cells, next_lease_holds


@cells(SILENT, (*LOUD, *SILENT))
def test_next_lease_works_or_says_in_time_that_it_can_not(
    row: Row,
    family: Family,
    transport: str,
    loss: str,
    results: Results,
    tmp_path: Path,
    server_comes_back: None,
) -> None:
    """Unused for ``health_check_interval``, the server is asked first."""
    holds = False
    try:
        holds = next_lease_holds(row, family, transport, loss, tmp_path)
    finally:
        results.note(row.name, "Liveness", passed=holds)
    assert holds
