"""Places for every driver, and the figures of the fuzz, printed at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.outcomes.places import Place, places_of

#: Under this name a test leaves its figures in its report; it travels from xdist's processes too.
FIGURES = "fuzz"


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """Give an empty place for each driver, by its name."""
    with places_of(request, tmp_path_factory.mktemp("places")) as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures as a table."""
    rows = [
        dict(figures)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, figures in report.user_properties
        if name == FIGURES
    ]
    if not rows:
        return
    columns = list(rows[0])
    table = [columns, *([str(row.get(column, 0)) for column in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    terminalreporter.section("interrupts")
    for cells in table:
        terminalreporter.line("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
