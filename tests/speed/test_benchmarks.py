"""The benchmarks' own code: every contender of every table does its work, and what comes out can be written down."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from benchmarks import report, tables
from benchmarks.harness import Case, Column, Measure, Table, run_table
from benchmarks.stage import Stage
from taskconn import _registry
from taskconn.celery import _apps

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="starts servers, which have no Windows build"),
    pytest.mark.timeout(300),
]


@pytest.fixture(autouse=True)
def _own_garbage_alone() -> Iterator[None]:
    """Keep the collector, which each round of a benchmark calls, from what the tests before have made or imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_apps_alone() -> Iterator[None]:
    """Let no later test's lease find a benchmark's app to be the one app of its process."""
    before = set(_registry._installed)
    yield
    _apps.meet_new()  # else the next lease does
    for app in set(_registry._installed) - before:
        del _registry._installed[app]


@pytest.mark.parametrize("name", tables.names())
def test_every_contender_does_its_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender that could not do its work ends the run; each of them has a figure, and a line in the page."""
    table = tables.load(name)
    monkeypatch.setattr(report, "RESULTS", tmp_path)

    with ExitStack() as stack:
        run_table(table, Stage(stack, is_quick=True), keep=lambda outcome: report.write(table, outcome, "some machine"))

    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    page = report.section(record)
    key = table.columns[0].key
    rows = [row for case in record["cases"] for row in case["rows"]]
    assert rows
    for row in rows:
        assert row["figures"][key] > 0, row
        assert row["name"] in page
    assert "<svg" in (tmp_path / f"{name}.svg").read_text(encoding="utf-8")


def test_case_that_fails_loses_none_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case is written as it ends; those of an earlier run stay until they are run again, and say of which."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    with ExitStack() as stack:
        stage = Stage(stack, is_quick=True)
        for machine, fails in (("quiet machine", False), ("busy machine", True)):
            table = _made(fails=fails)
            with pytest.raises(RuntimeError, match="the second case") if fails else nullcontext():
                run_table(table, stage, keep=lambda outcome, table=table, on=machine: report.write(table, outcome, on))

    record = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    assert [case["name"] for case in record["cases"]] == ["first", "second"]
    assert [case["rows"][0]["figures"]["us"] for case in record["cases"]] == [2.0, 1.0]
    page = report.section(record)
    assert "second: " in page
    assert page.index("quiet machine") < page.index("All others: ") < page.index("busy machine")


def _made(*, fails: bool) -> Table:
    @contextmanager
    def contender() -> Iterator[Measure]:
        yield lambda: {"us": 2.0 if fails else 1.0}

    def cases(stage: Stage) -> Iterator[Case]:
        yield Case("first", {"one": contender})
        if fails:
            raise RuntimeError("the second case")
        yield Case("second", {"one": contender})

    return Table("made", "Made", "up", (Column("us", "µs"),), cases)
