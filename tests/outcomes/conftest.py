"""Places for every driver, the worker of Celery's tables, and the figures of the fuzz, printed at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.servers import RedisServer
from tests.drivers.rows import ROWS
from tests.outcomes.celery_table import Batch
from tests.outcomes.celery_worker import CeleryWorker, celery_worker
from tests.outcomes.places import Place, places_of

#: Under this name a test leaves its figures in its report; it travels from xdist's processes too.
FIGURES = "fuzz"


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """Give an empty place for each driver, by its name."""
    with places_of(request, tmp_path_factory.mktemp("places")) as made:
        yield made


@pytest.fixture(scope="module")
def worker(
    redis_server: RedisServer, places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """Give one worker for all cases, with as many children as there are drivers."""
    with celery_worker(redis_server, places, tmp_path_factory.mktemp("worker"), "-c", str(len(ROWS))) as started:
        yield started


@pytest.fixture(scope="module")
def batch(request: pytest.FixtureRequest, worker: CeleryWorker) -> Batch:
    """Give one case of Celery's, under way for every driver."""
    return Batch(request.param, worker)


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
