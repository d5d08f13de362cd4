"""Jobs that are done once although RQ runs them again, each with a real worker."""

from __future__ import annotations

import pytest
from rq import Repeat, Retry
from rq.job import JobStatus

from taskconn import _ledger
from tests.rq.conftest import Workplace


@pytest.fixture
def ledger(workplace: Workplace) -> Workplace:
    """Give a place to work whose database has the ledger."""
    for statement in _ledger.statements("mysql", "default"):
        workplace.database.query(statement)
    return workplace


def test_job_whose_horse_was_killed_after_the_commit_is_not_done_again(ledger: Workplace) -> None:
    """RQ calls the first attempt failed and runs the job again, which returns what was committed."""
    job = ledger.enqueue("insert_once_and_die", "once", retry=Retry(max=1))

    ledger.worker().succeed()

    assert [row[0] for row in ledger.seen()] == ["once"]
    assert ledger.refreshed(job).get_status() == JobStatus.FINISHED
    assert job.return_value(refresh=True) == ["once", "written"]
    assert ledger.database.query("SELECT repeats FROM taskconn_ledger") == [(1,)]


def test_each_run_of_a_repeat_is_done(ledger: Workplace) -> None:
    """A `Repeat` keeps the job and its id, and each of its runs is an execution of its own."""
    ledger.enqueue("insert_once", "repeated", repeat=Repeat(times=2))

    ledger.worker().succeed()

    assert [row[0] for row in ledger.seen()] == ["repeated"] * 3


def test_job_that_is_enqueued_anew_under_its_id_is_done(ledger: Workplace) -> None:
    """An id of the user's own, such as that of a nightly job, is another execution each time."""
    for _ in range(2):
        ledger.enqueue("insert_once", "nightly", job_id="nightly")
        ledger.worker().succeed()

    assert [row[0] for row in ledger.seen()] == ["nightly"] * 2


def test_returned_retry_is_made_again(ledger: Workplace) -> None:
    """An attempt that returns `Retry` is rolled back, entry and all; the next one, with the same id, runs."""
    job = ledger.enqueue("insert_once_and_retry", "retried")

    ledger.worker("SimpleWorker").succeed()

    assert job.return_value(refresh=True) == "retried"
    assert [row[0] for row in ledger.seen()] == ["retried"]


def test_part_of_another_job_is_refused(ledger: Workplace) -> None:
    """A job that calls a function which is done once has no id for it."""
    job = ledger.enqueue("insert_once_by_name", "helped")

    ledger.worker().succeed()

    assert "can't be done once: it was called by the task tests.rq.jobs.insert_once_by_name" in ledger.error_of(job)
    assert ledger.seen() == []
