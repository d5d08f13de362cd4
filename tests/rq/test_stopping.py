"""Stopping and killing by command, in the windows in which RQ itself hits the wrong process."""

from __future__ import annotations

import time

import pytest
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.job import Job, JobStatus

from tests.rq.conftest import Workplace

each_kind = pytest.mark.parametrize("warm", ["", "Warm"], ids=["Worker", "WarmWorker"])


@each_kind
def test_job_stopped_before_its_horse_starts_is_never_run(workplace: Workplace, warm: str) -> None:
    """RQ would kill the worker here, whose own process group is that of a pid of 0; the job would be lost."""
    stopped = workplace.enqueue_warm("pid")
    after = workplace.enqueue_warm("pid")

    worker = workplace.worker(f"tests.rq.workers.StoppedBeforeIts{warm}Horse")
    name = worker.wait_for(r"prepared (\w+)")[1]
    stopped.worker_name = name  # as of an earlier attempt: RQ's command asks for it
    stopped.save()
    send_stop_job_command(workplace.queue.connection, stopped.id)
    worker.succeed()

    assert stopped.get_status() == JobStatus.STOPPED
    assert stopped.return_value() is None
    assert after.get_status() == JobStatus.FINISHED
    assert workplace.queue.intermediate_queue.get_job_ids() == [], "maintenance would call it failed, or retry it"


@each_kind
def test_horse_that_has_not_left_the_workers_group_is_killed_alone(workplace: Workplace, warm: str) -> None:
    """The worker too puts its horse into a group of its own: a kill right after the fork does not hit the worker."""
    killed = workplace.enqueue_warm("wait")
    after = workplace.enqueue_warm("pid")

    worker = workplace.worker(f"tests.rq.workers.Late{warm}Group")
    worker.wait_for("in the group")
    send_kill_horse_command(workplace.queue.connection, _name(workplace))
    worker.succeed()

    assert killed.get_status() == JobStatus.FAILED
    assert after.get_status() == JobStatus.FINISHED


@each_kind
def test_late_stop_does_not_hit_the_next_job(workplace: Workplace, warm: str) -> None:
    """Between the look at the running job and the kill the job may end: the next one does not begin meanwhile."""
    first = workplace.enqueue_warm("wait_until_told", "end of the first")
    after = [workplace.enqueue_warm("sleep_in_python", 0.6) for _ in range(2)]

    worker = workplace.worker(f"tests.rq.workers.Late{warm}Kill")
    worker.wait_for("waiting")
    send_stop_job_command(workplace.queue.connection, first.id)
    worker.succeed()

    assert first.get_status() in {JobStatus.FINISHED, JobStatus.STOPPED}
    assert [job.get_status() for job in after] == [JobStatus.FINISHED] * 2


def test_idle_horse_is_not_killed_by_command(workplace: Workplace) -> None:
    """While no job runs a kill-horse command is ignored, as by RQ's workers, which have no horse then."""
    first = workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", burst=False)
    worker.wait_for("Job OK")
    ends_at = time.monotonic() + 30
    while workplace.queue.connection.hget(f"rq:worker:{_name(workplace)}", "state") != b"idle":
        assert time.monotonic() < ends_at, worker.output
        time.sleep(0.01)

    send_kill_horse_command(workplace.queue.connection, _name(workplace))
    worker.wait_for("kill horse command ignored")
    second = workplace.enqueue_warm("pid")
    worker.wait_for("Job OK", count=2)

    assert first.return_value() == second.return_value()
    assert worker.stop() == 0


@each_kind
def test_stop_of_an_earlier_run_does_not_call_a_crash_stopped(workplace: Workplace, warm: str) -> None:
    """A stop that came too late is forgotten: RQ would call the same job's next crash "stopped by user"."""
    job = workplace.enqueue_warm("wait_until_told", "end of the first")
    worker = workplace.worker(f"tests.rq.workers.Late{warm}Kill", burst=False)
    worker.wait_for("waiting")
    send_stop_job_command(workplace.queue.connection, job.id)
    worker.wait_for(r"Job OK|stopped by user")

    again = workplace.enqueue_warm("crash", job_id=job.id)
    worker.wait_for("terminated unexpectedly")
    worker.stop()

    assert Job.fetch(again.id, connection=workplace.queue.connection).get_status() == JobStatus.FAILED


def _name(workplace: Workplace) -> str:
    """Name the only worker."""
    (key,) = workplace.queue.connection.smembers("rq:workers")
    return str(key.decode().removeprefix("rq:worker:"))
