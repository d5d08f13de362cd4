"""What a warm horse gets of a job: all that the worker has of it, as if it had been forked."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from rq import Queue, Retry
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.job import Job

import taskconn.rq
from taskconn.rq._assignment import pack, unpack
from tests.rq import warm_jobs
from tests.rq.conftest import Workplace


class Unpicklable(Job):
    """A job with something that no other process can have."""

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self.lock = threading.Lock()


def _sent(workplace: Workplace, job: Job, **options: Any) -> Job:
    """Send *job* through a worker's bytes."""
    worker = taskconn.rq.WarmWorker([workplace.queue], connection=workplace.queue.connection, **options)
    again, queue, execution = unpack(worker, pack(worker, job, workplace.queue, None))
    assert (queue.name, queue.connection, execution) == ("default", worker.connection, None)
    assert again.connection is worker.connection
    return again


def test_job_arrives_as_it_was_dequeued(workplace: Workplace) -> None:
    """No attribute is lost, and Redis is not asked: the job may have been deleted there meanwhile."""
    job = workplace.queue.enqueue(
        warm_jobs.print_word, "word", retry=Retry(max=3, interval=[1, 2]), meta={"a": 1}, job_timeout=7
    )
    job = workplace.refreshed(job)
    job.delete()

    again = _sent(workplace, job)

    skipped = {"connection", "serializer"}
    assert {k: v for k, v in vars(again).items() if k not in skipped} == {
        k: v for k, v in vars(job).items() if k not in skipped
    }
    assert (again.func, again.args, again.timeout, again.meta) == (warm_jobs.print_word, ("word",), 7, {"a": 1})


def test_execution_arrives_too(workplace: Workplace) -> None:
    """RQ's record of the attempt is the worker's: id, times and the name of the worker."""
    job = workplace.enqueue_warm("pid")
    execution = Execution("id of the execution", job.id, workplace.queue.connection, "worker")
    worker = taskconn.rq.WarmWorker([workplace.queue], connection=workplace.queue.connection)

    again, _, received = unpack(worker, pack(worker, job, workplace.queue, execution))

    assert received is not None
    assert vars(received) == {**vars(execution), "_job": again}
    assert received.connection is worker.connection


def test_state_of_a_users_job_class_arrives(workplace: Workplace) -> None:
    """What a job class has set when the job was dequeued is there in the horse, which RQ's fork would have copied."""
    job = workplace.enqueue_warm("pid")

    worker = workplace.worker("tests.rq.workers.StatefulWorker", "--job-class", "tests.rq.workers.StatefulJob")
    worker.succeed()

    assert workplace.queue.connection.get("seen by").decode() == f"{worker.pid} in {job.return_value()}"


def test_job_that_cannot_be_pickled_is_fetched(workplace: Workplace) -> None:
    """The horse then asks Redis for it, with the worker's own job class."""
    job = Unpicklable.fetch(workplace.enqueue_warm("pid").id, connection=workplace.queue.connection)

    again = _sent(workplace, job, job_class=Unpicklable)

    assert isinstance(again, Unpicklable)
    assert again.lock is not job.lock
    job.delete()
    with pytest.raises(NoSuchJobError, match=f"No such job: .*{job.id}"):
        _sent(workplace, job, job_class=Unpicklable)


def test_class_of_the_queue_is_kept(workplace: Workplace) -> None:
    """A job's dependents are enqueued by the class of its queue."""
    worker = taskconn.rq.WarmWorker([workplace.queue], connection=workplace.queue.connection)
    job = workplace.enqueue_warm("pid")

    _, queue, _ = unpack(worker, pack(worker, job, OtherQueue("other", connection=worker.connection), None))

    assert isinstance(queue, OtherQueue)
    assert queue.name == "other"


class OtherQueue(Queue):
    """A queue of a user's."""
