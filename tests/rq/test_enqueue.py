"""Jobs that are enqueued when the transaction that they are about has been committed."""

from __future__ import annotations

from typing import Any

import pytest
from rq.job import Job, JobStatus

import taskconn
from taskconn.rq import enqueue_on_commit
from tests.rq import jobs
from tests.rq.conftest import Workplace
from tests.support.core import fake


@pytest.mark.parametrize("name", ["Worker", "SimpleWorker"])
def test_job_is_enqueued_after_the_commit(workplace: Workplace, name: str) -> None:
    """The job finds what its sender has written, and has the id that the sender was given before."""
    sender = workplace.enqueue("insert_and_enqueue", "sent")

    workplace.worker(name).succeed()

    follower = Job.fetch(sender.return_value(refresh=True), connection=workplace.queue.connection)
    assert follower.return_value() == 1


def test_job_of_a_failed_sender_is_never_enqueued(workplace: Workplace) -> None:
    """A job that is rolled back enqueues nothing."""
    sender = workplace.enqueue("insert_and_enqueue", "lost", kwargs={"fails": True})

    workplace.worker().succeed()

    assert sender.get_status() == JobStatus.FAILED
    assert workplace.queue.finished_job_registry.count == 0
    assert workplace.queue.failed_job_registry.get_job_ids() == [sender.id]
    assert workplace.seen() == []


def test_id_is_known_before(workplace: Workplace) -> None:
    """The job is there at once, and in Redis, with its options, when the lease has committed."""
    app = fake()

    with app.lease() as db:
        db.execute("INSERT")
        job = enqueue_on_commit(workplace.queue, jobs.insert, "a", meta={"for": "b"}, job_timeout=7)
        assert not Job.exists(job.id, connection=workplace.queue.connection)
        assert (job.func_name, job.args) == ("tests.rq.jobs.insert", ("a",))

    job.refresh()
    assert workplace.queue.job_ids == [job.id]
    assert (job.meta, job.timeout) == ({"for": "b"}, 7)


def test_id_may_be_given(workplace: Workplace) -> None:
    """Outside of leases the job is enqueued at once; options that RQ takes are RQ's."""
    job = enqueue_on_commit(workplace.queue, "tests.rq.jobs.insert", args=("a",), job_id="first")

    assert job.id == "first"
    assert workplace.queue.job_ids == ["first"]


def take(number: int) -> None:
    """Take one argument."""


@pytest.mark.parametrize(
    ("function", "args", "error", "match"),
    [
        (take, (), TypeError, "missing a required argument: 'number'"),
        (take, (1, 2), TypeError, "too many positional arguments"),
        (jobs.insert, (), TypeError, "missing a required argument: 'name'"),
        (take, (lambda: 1,), Exception, "pickle"),
    ],
    ids=["too-few", "too-many", "injected", "not-serializable"],
)
def test_arguments_are_checked_at_once(
    workplace: Workplace, function: Any, args: Any, error: type[Exception], match: str
) -> None:
    """What would fail in the worker, or after the commit, is refused before."""
    app = fake()

    with pytest.raises(error, match=match), taskconn.lease(app.handle):
        enqueue_on_commit(workplace.queue, function, *args)

    assert workplace.queue.count == 0
