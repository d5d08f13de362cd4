"""The table of outcomes in greenlets: Celery's limit is a `gevent.Timeout` there, and a revoke kills the greenlet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.servers import RedisServer
from tests.drivers.rows import ROWS
from tests.outcomes.celery_table import COMMITTED, Batch, Case
from tests.outcomes.celery_worker import CeleryWorker, celery_worker
from tests.outcomes.places import Place
from tests.outcomes.table import each_case

CASES = {
    "return": Case("returns", [0], "SUCCESS", COMMITTED),
    "time limit": Case("waits", [], "FAILURE TimeLimitExceeded", ["on_failure TimeLimitExceeded"], {"time_limit": 3}),
    "revoke": Case("waits", [], "REVOKED TaskRevokedError", ["revoked"], revoked_by="SIGTERM"),
}


@pytest.fixture(scope="module")
def worker(
    redis_server: RedisServer, places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """Give one worker for all cases, with more greenlets than there are drivers."""
    folder = tmp_path_factory.mktemp("gevent")
    with celery_worker(redis_server, places, folder, "-P", "gevent", "-c", "20") as started:
        yield started


@pytest.mark.parametrize("name", ROWS)
@each_case(CASES)
def test_outcome(batch: Batch, name: str) -> None:
    """A greenlet that is cut off or killed in its transaction leaves no row, and Celery is told the truth."""
    batch.check(name)
