"""What RQ tells the core of a running job, and jobs that no worker runs."""

from __future__ import annotations

from rq import Queue

import taskconn
from taskconn._context import current_task
from taskconn.rq import current_job_context
from tests.rq import jobs
from tests.rq.conftest import Workplace


def test_outside_of_jobs_there_is_no_context() -> None:
    """Importing RQ makes no task of a program."""
    assert current_job_context() is None
    assert current_task() is None


def test_deadline_is_the_jobs_timeout(workplace: Workplace) -> None:
    """The core hears when RQ will interrupt the job; of a job without a limit it hears nothing."""
    limited = workplace.enqueue("time_left", job_timeout=30)
    unlimited = workplace.enqueue("time_left", job_timeout=-1)

    workplace.worker("SimpleWorker").succeed()

    assert 20 < limited.return_value() <= 30
    assert unlimited.return_value() is None


def test_job_in_its_caller_needs_no_worker(workplace: Workplace) -> None:
    """A queue with `is_async=False` runs the job at once, in this process: it is committed like any other."""
    taskconn.configure({"default": workplace.database.url})
    queue = Queue(connection=workplace.redis.connect(), is_async=False)

    returned = queue.enqueue(jobs.insert, "returned")
    raised = queue.enqueue(jobs.insert_and_raise, "raised")
    left = queue.enqueue(jobs.time_left)
    taskconn.close()

    assert returned.return_value() == "returned"
    assert raised.is_failed
    assert left.return_value() is None
    assert [row[0] for row in workplace.seen()] == ["returned"]


def test_job_performed_inside_another_one_has_its_own_connection(workplace: Workplace) -> None:
    """A nested job is a task of its own: it is committed although the outer one fails."""
    workplace.enqueue("insert_and_perform", "nested")

    workplace.worker("SimpleWorker").succeed()

    assert [row[0] for row in workplace.seen()] == ["nested inside"]


def test_job_called_inside_a_lease_does_not_join_it(workplace: Workplace) -> None:
    """The caller's transaction is not the job's, nor the other way round."""
    taskconn.configure({"default": workplace.database.url})
    queue = Queue(connection=workplace.redis.connect(), is_async=False)

    try:
        with taskconn.lease("default") as db:
            jobs.note(db, "caller")
            queue.enqueue(jobs.insert, "job")
            raise KeyError  # noqa: TRY301 -- what the block does not survive
    except KeyError:
        taskconn.close()

    assert [row[0] for row in workplace.seen()] == ["job"]
