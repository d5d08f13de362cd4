"""The table of outcomes under RQ, for every driver: rows, status and callbacks, read back from the database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rq import Retry

from examples.servers import RedisServer
from tests.drivers.rows import ROWS
from tests.outcomes.places import Place
from tests.outcomes.rq_table import COMMITTED, Batch, Case, Workers, rq_workers
from tests.outcomes.table import each_case
from tests.support.databases import empty_redis_database

_LIMIT = {"job_timeout": 1}
_LIMITED = ["on_failure JobTimeoutException"]

#: These hear of a limit when the answer is there, or open a new connection: what follows on it is right.
_ASKED_AGAIN = Case("asks_again", [0], "finished", ["asked-again right", *COMMITTED])

CASES = {
    "return": Case("returns", [0], "finished", COMMITTED),
    "exception": Case("raises", [], "failed ValueError", ["on_failure ValueError"]),
    "returned Retry": Case("returns_retry", [1], "finished", COMMITTED),
    "retry": Case("raises_once", [1], "finished", ["on_failure ValueError", *COMMITTED], {"retry": Retry(max=1)}),
    "exception, commit_on": Case(
        "raises_and_keeps", [0], "failed ValueError", ["after_commit", "on_failure ValueError"]
    ),
    "returned failure, rollback_on": Case("returns_failure", [], "finished", ["on_success"]),
    "SystemExit": Case("exits", [], "failed SystemExit", ["on_failure SystemExit"]),
    "KeyboardInterrupt": Case(
        "raises_keyboard_interrupt", [], "failed KeyboardInterrupt", ["on_failure KeyboardInterrupt"]
    ),
    "timeout": Case("waits", [], "failed JobTimeoutException", _LIMITED, _LIMIT),
    "timeout in a statement": Case("waits_in_statement", [], "failed JobTimeoutException", _LIMITED, _LIMIT),
    "timeout, swallowed": Case("swallows", [0], "finished", ["swallowed", *COMMITTED], _LIMIT),
    "timeout in a statement, swallowed": Case(
        "asks_again",
        [],
        "failed TaintedConnectionError",
        ["on_failure TaintedConnectionError"],
        _LIMIT,
        elsewhere=dict.fromkeys(("psycopg2", "sqlite", "redis"), _ASKED_AGAIN),
    ),
    "stop-job": Case("waits", [], "stopped", ["on_stopped"], command="stop"),
    "kill-horse": Case("waits", [], "failed", [], command="kill"),
}


@pytest.fixture(scope="module")
def workers(
    redis_server: RedisServer, places: dict[str, Place], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    """Give workers for all cases, as many as there are drivers."""
    with empty_redis_database(redis_server, 30) as redis:
        with rq_workers(redis, places, tmp_path_factory.mktemp("workers")) as started:
            yield started


@pytest.fixture(scope="module")
def batch(request: pytest.FixtureRequest, workers: Workers) -> Batch:
    """Give one case, under way for every driver."""
    return Batch(request.param, workers)


@pytest.mark.parametrize("name", ROWS)
@each_case(CASES)
def test_outcome(batch: Batch, name: str) -> None:
    """A job's rows are there if and only if its function returned, or ended as `commit_on` says; so are callbacks."""
    batch.check(name)
