"""The server, or the way to it, goes away: the next lease works, or says in time that it can't; never a stale row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drivers.rows import Row
from tests.matrix.families import FAMILIES, Family
from tests.matrix.results import Results
from tests.matrix.rows import ROWS
from tests.matrix.scene import LOUD, SILENT, Scene, cells, next_lease_holds, skip_rst_on_unix

_EARLY = ("killed", "restarted", "FIN", "RST")
#: Losses that are not tried so early, and why.
_NOT_EARLY = {
    "idle timeout": "takes longer than half a second by itself",
    "crashed": "as for a restart",
    **dict.fromkeys(SILENT, "the statement waits for as long as the URL's own timeout says: nothing tells of the loss"),
}


@cells(LOUD, (*LOUD, *SILENT))
def test_next_lease_works_or_says_in_time_that_it_can_not(
    row: Row,
    family: Family,
    transport: str,
    loss: str,
    results: Results,
    tmp_path: Path,
    server_comes_back: None,
) -> None:
    """Unused for half a second, it is looked at first."""
    skip_rst_on_unix(row, transport, loss, results, "unused")
    holds = False
    try:
        holds = next_lease_holds(row, family, transport, loss, tmp_path)
    finally:
        results.note(row.name, "Liveness", passed=holds)
    assert holds


@cells(_EARLY, _EARLY)
def test_a_loss_earlier_than_that_is_the_first_statements_error(
    row: Row, family: Family, transport: str, loss: str, results: Results, tmp_path: Path, server_comes_back: None
) -> None:
    """What was used just now is not looked at; the first statement fails as the library has it, and it is replaced."""
    skip_rst_on_unix(row, transport, loss, results, "just used")
    holds = False
    try:
        with Scene(row, family, transport, tmp_path, {}) as scene:
            scene.lose(loss)
            scene.age(-5)  # however long the loss took
            if row.family == "redis":  # redis-py connects anew by itself
                holds = scene.works()
            else:
                with pytest.raises(row.errors or scene.registry.pool("orders").driver.errors), scene.lease() as db:
                    row.values(db)
                holds = scene.works()
    finally:
        results.note(row.name, "Liveness", passed=holds)
    assert holds


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_can_not_be_had_is_listed(row: Row, results: Results) -> None:
    """A silent loss is seen by a round trip alone, and a file has no server to lose."""
    whole = FAMILIES[row.family].impossible.get("liveness", "")
    for loss in (*LOUD, *SILENT) if whole else ():
        results.note_impossible(row.name, "Liveness", loss, whole)
    for transport in () if whole else ("TCP", "Unix socket", "TLS"):
        for loss, reason in _NOT_EARLY.items():
            results.note_impossible(row.name, "Liveness", f"{transport}, {loss}, just used", reason)

    assert row.has_server is not bool(whole)
    assert sorted([*_EARLY, *_NOT_EARLY]) == sorted([*LOUD, *SILENT])
