"""A worker with a warm horse: what a death costs, of the horse or of its worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest
from rq.job import JobStatus

from tests.rq.conftest import Workplace
from tests.rq.waiting import idle, until


@pytest.mark.parametrize(
    ("function", "signal_number"),
    [("wait", signal.SIGKILL), ("crash", None), ("exit_silently", None), ("crash_beside_a_child", None)],
    ids=["killed", "crashed", "exited with 0", "crashed beside a child"],
)
def test_death_of_a_horse_costs_its_job_alone(workplace: Workplace, function: str, signal_number: int | None) -> None:
    """The job that killed its horse fails, at once, also if the horse left with 0 in the middle of it."""
    before, job, after = (workplace.enqueue_warm(name) for name in ("pid", function, "pid"))

    worker = workplace.worker("WarmWorker")
    if signal_number:
        os.kill(int(worker.wait_for(r"waiting (\d+)")[1]), signal_number)
    worker.succeed()

    assert job.get_status() == JobStatus.FAILED
    assert "Work-horse terminated unexpectedly" in workplace.error_of(job)
    assert before.return_value() != after.return_value() is not None


def test_horse_that_dies_idle_is_replaced_unnoticed(workplace: Workplace) -> None:
    """The next job runs in a new process; nothing is said to have failed."""
    worker, first = idle(workplace)

    os.kill(first, signal.SIGKILL)
    second = workplace.enqueue_warm("pid")
    worker.wait_for("Job OK", count=2)

    assert second.return_value() not in {None, first}
    assert worker.stop() == 0, worker.output


def test_job_that_no_horse_has_begun_is_given_to_another_one(workplace: Workplace) -> None:
    """A horse that dies between a job's arrival and its beginning has not run it: the job runs once, and succeeds."""
    jobs = [workplace.enqueue("insert", f"job {number}") for number in range(3)]

    output = workplace.worker("tests.rq.workers.HorseEndsBeforeItBegins").succeed()

    assert "ended before it began its job" in output
    assert [job.get_status() for job in jobs] == [JobStatus.FINISHED] * 3
    assert [row[0] for row in workplace.seen()] == ["job 0", "job 1", "job 2"]
    assert len({row[1] for row in workplace.seen()}) == 2


def test_horse_that_takes_its_time_to_leave_is_collected(workplace: Workplace) -> None:
    """One that has closed its end, and has not ended when its job goes to another one, does not stay a zombie."""
    jobs = [workplace.enqueue_warm("pid") for _ in range(3)]
    worker = workplace.worker("tests.rq.workers.HorseLingers", burst=False)
    os.kill(int(worker.wait_for(r"lingering (\d+)")[1]), signal.SIGTERM)

    worker.wait_for("Job OK", count=3)

    first, second, third = (job.return_value() for job in jobs)
    assert first != second == third
    assert [child.pid for child in psutil.Process(worker.pid).children()] == [second]
    assert worker.stop() == 0, worker.output


@pytest.mark.parametrize("warm", ["", "--with-scheduler"], ids=["alone", "beside a scheduler"])
def test_idle_horse_leaves_when_its_worker_is_killed(
    workplace: Workplace, aborted: Callable[[], int], warm: str
) -> None:
    """It notices the end of its worker, even while another child of the worker lives on, and says goodbye."""
    workplace.enqueue("insert", "one")
    worker, horse = idle(workplace, *([warm] if warm else []))

    worker.send(signal.SIGKILL)
    until(lambda: not psutil.pid_exists(horse) or psutil.Process(horse).status() == psutil.STATUS_ZOMBIE)

    worker.kill()
    assert aborted() == 0


def test_working_horse_finishes_its_job_when_its_worker_is_killed(workplace: Workplace) -> None:
    """As with RQ: the job's outcome is stored, and the horse leaves after it."""
    job = workplace.enqueue_warm("wait_until_told", "told")
    worker = workplace.worker("WarmWorker", burst=False)
    horse = int(worker.wait_for(r"waiting (\d+)")[1])

    worker.send(signal.SIGKILL)
    worker.wait()
    workplace.queue.connection.rpush("told", 1)

    until(lambda: job.get_status() == JobStatus.FINISHED)
    until(lambda: not psutil.pid_exists(horse) or psutil.Process(horse).status() == psutil.STATUS_ZOMBIE)


def test_working_horse_finishes_its_job_when_its_worker_fails(workplace: Workplace) -> None:
    """A worker that leaves by an error of its own kills nobody."""
    job = workplace.enqueue_warm("wait_until_told", "told")

    worker = workplace.worker("tests.rq.workers.FailingMonitor")
    worker.wait_for("found an unhandled exception, quitting")
    worker.wait()
    workplace.queue.connection.rpush("told", 1)

    until(lambda: job.get_status() == JobStatus.FINISHED)
