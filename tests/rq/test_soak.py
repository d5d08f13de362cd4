"""A cut of the soak; ``make soak`` is the whole of it."""

from __future__ import annotations

from tests.rq.soak.plan import Plan
from tests.rq.soak.run import run


def test_every_job_is_accounted_for() -> None:
    """While jobs fail, time out and are stopped, and horses are killed, no other job is hurt, and none runs twice."""
    report = run(Plan(jobs=300, stops=20, kills=10, calm=0))

    assert report.wrong == [], str(report)
    assert sum(report.ends.values()) == 300
    assert report.ends["fails", "ValueError"] > 0
