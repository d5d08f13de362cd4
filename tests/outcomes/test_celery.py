"""The table of outcomes under Celery, for every driver: what functions do by themselves."""

from __future__ import annotations

import pytest

from tests.drivers.rows import ROWS
from tests.outcomes.celery_table import COMMITTED, Batch, Case
from tests.outcomes.table import each_case

#: Celery sends the next attempt before it stores that this one is retried, which may overwrite what that one stored.
_RETRIED = ["on_retry", "ran RETRY", *COMMITTED]

CASES = {
    "returned failure, rollback_on": Case("returns_failure", [], "SUCCESS", ["on_success", "ran SUCCESS"]),
    "return": Case("returns", [0], "SUCCESS", COMMITTED),
    "exception": Case("raises", [], "FAILURE ValueError", ["on_failure ValueError", "ran FAILURE"]),
    "retry": Case("retries", [1], "SUCCESS", _RETRIED, overwritten="RETRY"),
    "autoretry_for": Case("retries_by_itself", [1], "SUCCESS", _RETRIED, overwritten="RETRY"),
    "Ignore": Case("ignores", [], "PENDING", ["ran IGNORED"]),
    "Reject": Case("rejects", [], "FAILURE Reject", ["ran REJECTED"]),
    "replace": Case("replaces", [1], "SUCCESS", ["ran IGNORED", *COMMITTED]),
    "replace, commit_on": Case("replaces_and_keeps", [0, 1], "SUCCESS", ["after_commit", "ran IGNORED", *COMMITTED]),
    "exception, commit_on": Case(
        "raises_and_keeps", [0], "FAILURE ValueError", ["after_commit", "on_failure ValueError", "ran FAILURE"]
    ),
}


@pytest.mark.parametrize("name", ROWS)
@each_case(CASES)
def test_outcome(batch: Batch, name: str) -> None:
    """A task's rows are there if and only if its function returned, or ended as `commit_on` says; so are callbacks."""
    batch.check(name)
