"""The benchmarks' own code: every contender of every table does its work, and what comes out can be written down."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import report, tables
from benchmarks.harness import run_table
from benchmarks.stage import Stage

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="starts servers, which have no Windows build"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("name", tables.names())
def test_every_contender_does_its_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender that could not do its work ends the run; each of them has a figure, and a line in the page."""
    table = tables.load(name)
    monkeypatch.setattr(report, "RESULTS", tmp_path)

    with ExitStack() as stack:
        outcome = run_table(table, Stage(stack, is_quick=True))
    report.write(table, outcome, "some machine")

    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    page = report.section(record)
    key = table.columns[0].key
    rows = [row for case in record["cases"] for row in case["rows"]]
    assert rows
    for row in rows:
        assert row["figures"][key] > 0, row
        assert row["name"] in page
    assert "<svg" in (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
