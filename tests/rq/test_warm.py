"""A worker with a warm horse: what stays as with a fork for each job."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest
from rq.job import JobStatus

from tests.rq.conftest import Workplace
from tests.rq.waiting import idle, until


def test_one_horse_runs_many_jobs(workplace: Workplace, aborted: Callable[[], int]) -> None:
    """Jobs share process and connection, which is said goodbye to at the end; nothing is left of either."""
    jobs = [workplace.enqueue_warm("pid") for _ in range(5)]
    for number in range(5):
        workplace.enqueue("insert", f"job {number}")

    worker = workplace.worker("WarmWorker")
    worker.succeed()

    (pid,) = {job.return_value() for job in jobs}
    assert {(row[1], row[2]) for row in workplace.seen()} == {(pid, workplace.seen()[0][2])}
    assert pid != worker.pid
    assert not psutil.pid_exists(pid)
    assert aborted() == 0


@pytest.mark.parametrize("name", ["WarmWorker", "SimpleWorker"])
def test_nothing_of_a_job_is_kept(workplace: Workplace, name: str) -> None:
    """A process that runs many jobs has as many objects after the hundredth as after the tenth."""
    counts = []
    for jobs in (10, 100):
        for number in range(jobs):
            workplace.enqueue("insert", f"job {number}")
        counts.append([workplace.enqueue_warm("count_objects") for _ in range(2)])

    workplace.worker(name, "-q").succeed()

    (_, early), (_, late) = counts  # the first one imports its module
    assert late.return_value() - early.return_value() < 50, "half an object for each job"


def test_each_job_begins_as_if_it_were_the_first(workplace: Workplace) -> None:
    """Context variables, RQ's variables in the environment and the random numbers are each job's own."""
    jobs = [workplace.enqueue_warm("note_context") for _ in range(3)]

    workplace.worker("WarmWorker").succeed()

    found = [job.return_value() for job in jobs]
    assert [context for context, *_ in found] == ["clean"] * 3
    assert [variable for _, variable, _, _ in found] == [job.id for job in jobs]
    assert len({number for *_, number, _ in found}) == 3


def test_what_a_job_prints_is_written_once(workplace: Workplace) -> None:
    """Output that a job leaves in the buffer is neither lost nor written by the worker and its next horse again."""
    workplace.enqueue_warm("print_word", "eins\n")
    worker = workplace.worker("WarmWorker", "-q", burst=False, PYTHONUNBUFFERED="")
    worker.wait_for("eins")  # written while its horse lives on
    for function, *arguments in (("print_word", "zwei\n"), ("fail",), ("print_word", "drei\n")):
        workplace.enqueue_warm(function, *arguments)
    worker.wait_for("drei")

    assert worker.stop() == 0
    assert [worker.output.count(word) for word in ("eins", "zwei", "drei")] == [1, 1, 1]


def test_alarms_lose_no_report(workplace: Workplace) -> None:
    """RQ interrupts the wait for its heartbeats; a report that was just seen is seen again."""
    jobs = [workplace.enqueue_warm("pid") for _ in range(4)]

    workplace.worker("tests.rq.workers.AlarmAfterTheReport").succeed()

    assert [job.get_status() for job in jobs] == [JobStatus.FINISHED] * 4
    assert len({job.return_value() for job in jobs}) == 1


def test_heartbeats_go_on_while_a_job_runs(workplace: Workplace) -> None:
    """The worker and the job are seen to be alive in Redis, from the worker's process."""
    job = workplace.enqueue_warm("wait_until_told", "told")
    worker = workplace.worker("WarmWorker", "--job-monitoring-interval", "1")
    worker.wait_for("waiting")
    first = workplace.refreshed(job).last_heartbeat

    until(lambda: workplace.refreshed(job).last_heartbeat != first)
    workplace.queue.connection.rpush("told", 1)

    worker.succeed()
    assert job.get_status() == JobStatus.FINISHED


def test_nothing_of_rqs_record_of_one_job_is_seen_by_the_next(workplace: Workplace) -> None:
    """What RQ keeps of the running execution in the worker object is new for each job."""
    jobs = [workplace.enqueue_warm("pid") for _ in range(3)]

    workplace.worker("tests.rq.workers.Recording").succeed()

    states = [state.decode() for state in workplace.queue.connection.lrange("states", 0, -1)]
    assert states == [repr([1, 1, None, job.id]) for job in jobs]


def test_idle_horse_closes_its_connections(workplace: Workplace) -> None:
    """After `max_idle` seconds an idle horse holds no session of the database; the next job runs in it all the same."""
    workplace.enqueue("insert", "one")
    worker, horse = idle(workplace, TASKCONN_WARM_MAX_IDLE="1")
    clients = len(workplace.queue.connection.client_list())

    until(lambda: not workplace.database.server.sessions())
    until(lambda: len(workplace.queue.connection.client_list()) == clients - 1)
    workplace.enqueue("insert", "two")
    worker.wait_for("Job OK", count=3)

    assert [row[1] for row in workplace.seen()] == [horse, horse]
    assert len({row[2] for row in workplace.seen()}) == 2
    assert worker.stop() == 0


def test_horse_whose_redis_connections_were_cut_goes_on(workplace: Workplace) -> None:
    """redis-py opens new ones: nothing of the next job is lost."""
    worker, horse = idle(workplace)

    for client in workplace.queue.connection.client_list():
        if client["name"] == "" and client["id"] != workplace.queue.connection.client_id():
            workplace.queue.connection.client_kill_filter(_id=client["id"])
    job = workplace.enqueue_warm("pid")
    until(lambda: job.get_status() == JobStatus.FINISHED)

    assert job.return_value() == horse
    worker.stop()


def test_horse_can_be_started_without_an_execution(workplace: Workplace) -> None:
    """Whoever calls `fork_work_horse` by hand, as RQ's own tests do, has the job run, and waits for the horse's end."""
    source = """
from redis import Redis
from rq import Queue
from taskconn.rq import WarmWorker
import os
connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
queue = Queue(connection=connection)
worker = WarmWorker([queue], connection=connection)
job = queue.enqueue("tests.rq.warm_jobs.print_word", "ran\\n")
worker.fork_work_horse(job, queue)
print(worker.horse_pid > 0, worker.wait_for_horse()[:2] == (worker.horse_pid, 0))
"""

    output = workplace.start(source, environ=workplace.environ).succeed()

    assert "ran\n" in output
    assert "True True" in output
