"""The table of outcomes under Celery, for every driver: what strikes a task. Most of it costs the child its life."""

from __future__ import annotations

import pytest

from tests.drivers.rows import ROWS
from tests.outcomes.celery_table import COMMITTED, Batch, Case
from tests.outcomes.table import each_case

_SOFT = {"soft_time_limit": 1.0}
_HARD = {"time_limit": 1.2}
_LIMITED = ["on_failure SoftTimeLimitExceeded", "ran FAILURE"]

#: These hear of a limit when the answer is there, or open a new connection: what follows on it is right.
_ASKED_AGAIN = Case("asks_again", [0], "SUCCESS", ["asked-again right", *COMMITTED])

CASES = {
    "soft limit": Case("waits", [], "FAILURE SoftTimeLimitExceeded", _LIMITED, _SOFT),
    "soft limit in a statement": Case("waits_in_statement", [], "FAILURE SoftTimeLimitExceeded", _LIMITED, _SOFT),
    "soft limit, swallowed": Case("swallows", [0], "SUCCESS", ["swallowed", *COMMITTED], _SOFT),
    "soft limit in a statement, swallowed": Case(
        "asks_again",
        [],
        "FAILURE TaintedConnectionError",
        ["on_failure TaintedConnectionError", "ran FAILURE"],
        _SOFT,
        elsewhere=dict.fromkeys(("psycopg2", "sqlite", "redis"), _ASKED_AGAIN),
    ),
    "hard limit": Case("waits", [], "FAILURE TimeLimitExceeded", ["on_failure TimeLimitExceeded"], _HARD),
    "hard limit in a statement": Case(
        "waits_in_statement", [], "FAILURE TimeLimitExceeded", ["on_failure TimeLimitExceeded"], _HARD
    ),
    "revoke by TERM": Case("waits", [], "REVOKED TaskRevokedError", ["revoked"], revoked_by="SIGTERM"),
    # The worker stores that it has revoked it, the child how it ended; whichever is later stays.
    "revoke by USR1": Case(
        "waits",
        [],
        "FAILURE SoftTimeLimitExceeded",
        ["revoked", *_LIMITED],
        revoked_by="SIGUSR1",
        overwritten="REVOKED TaskRevokedError",
    ),
    "revoke by KILL": Case("waits", [], "REVOKED TaskRevokedError", ["revoked"], revoked_by="SIGKILL"),
    "SystemExit": Case("exits", [], "FAILURE WorkerLostError", []),
    "KeyboardInterrupt": Case("raises_keyboard_interrupt", [], "FAILURE WorkerLostError", []),
    "GreenletExit": Case("raises_greenlet_exit", [], "FAILURE GreenletExit", []),
}


@pytest.mark.parametrize("name", ROWS)
@each_case(CASES)
def test_outcome(batch: Batch, name: str) -> None:
    """Whatever strikes a task, its rows are gone unless it returned, and the task system is told the truth."""
    batch.check(name)
