"""How a job ends, and what of it is in the database then; each with a real worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rq import Callback
from rq.command import send_stop_job_command
from rq.job import JobStatus

from tests.rq.conftest import Workplace, write_module

each_kind = pytest.mark.parametrize("name", ["Worker", "SimpleWorker", "WarmWorker"])
#: What `tests/outcomes` shows for every driver with a `Worker`.
each_other_kind = pytest.mark.parametrize("name", ["SimpleWorker", "WarmWorker"])
each_forking = pytest.mark.parametrize("name", ["Worker", "WarmWorker"])

#: A horse whose client never comes back from its goodbye.
_HANGING = """
import threading
import taskconn
from taskconn.testing import FakeDriver

class Hanging(FakeDriver):
    def close(self, connection, timeout_s):
        print("closing", flush=True)
        threading.Event().wait()

registry = taskconn.Registry()
hanging = registry.add("hanging", Hanging(), close_timeout=0.1)

@taskconn.with_db(hanging)
def job(db):
    db.execute("INSERT")
"""


@each_other_kind
def test_returning_commits_and_raising_rolls_back(workplace: Workplace, name: str) -> None:
    """A job's rows are there if and only if its function returned."""
    workplace.enqueue("insert", "returned")
    failed = workplace.enqueue("insert_and_raise", "raised")

    workplace.worker(name).succeed()

    assert [row[0] for row in workplace.seen()] == ["returned"]
    assert failed.get_status() == JobStatus.FAILED
    assert workplace.error_of(failed).rstrip().endswith("ValueError: raised")


@each_other_kind
def test_returned_retry_rolls_back(workplace: Workplace, name: str) -> None:
    """A job that returns RQ's `Retry` is to be made again: of its first attempt nothing is left."""
    job = workplace.enqueue("insert_and_retry", "retried")

    workplace.worker(name).succeed()

    assert workplace.refreshed(job).number_of_retries == 1
    assert job.return_value(refresh=True) == "retried"
    assert [row[0] for row in workplace.seen()] == ["retried"]


@each_kind
def test_coroutine_is_committed_when_it_has_run(workplace: Workplace, name: str) -> None:
    """RQ runs an `async def` in a loop of its own for each job; the connection is the process's all the same."""
    jobs = [workplace.enqueue("insert_async", f"async {number}") for number in range(2)]

    workplace.worker(name).succeed()

    assert [job.return_value() for job in jobs] == ["async 0", "async 1"]
    assert [row[0] for row in workplace.seen()] == ["async 0", "async 1"]
    assert len({session for _, _, session in workplace.seen()}) == (2 if name == "Worker" else 1)


@each_other_kind
def test_timeout_is_recorded_as_such_and_its_connection_not_used_again(workplace: Workplace, name: str) -> None:
    """`JobTimeoutException` in the middle of a statement reaches the job's record, and no later job reads its reply."""
    workplace.enqueue("insert", "before")
    job = workplace.enqueue("insert_and_sleep", "lost", job_timeout=1)
    workplace.enqueue("insert", "after")

    workplace.worker(name).succeed()

    last_line = workplace.error_of(job).rstrip().splitlines()[-1]
    assert last_line.startswith("rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value")
    (before,), (after,) = workplace.seen("before"), workplace.seen("after")
    assert before[2] != after[2]
    assert workplace.seen("lost") == []


@each_kind
def test_timeout_that_a_library_swallows_is_noted(workplace: Workplace, name: str) -> None:
    """A driver learns of a timeout that struck in its library and was caught there."""
    job = workplace.enqueue("swallow_the_timeout", job_timeout=1)

    workplace.worker(name).succeed()

    assert job.return_value() == "JobTimeoutException"


@each_forking
def test_killed_horse_leaves_no_row_and_stops_nothing(workplace: Workplace, name: str) -> None:
    """SIGKILL in the middle of a transaction: the server rolls back, the next jobs run."""
    killed = workplace.enqueue("insert_and_wait", "killed")
    after = [workplace.enqueue("insert", f"after {number}") for number in range(3)]

    worker = workplace.worker(name)
    os.kill(int(worker.wait_for(r"waiting (\d+)")[1]), signal.SIGKILL)
    worker.succeed()

    assert killed.get_status() == JobStatus.FAILED
    assert [job.get_status() for job in after] == [JobStatus.FINISHED] * 3
    assert [row[0] for row in workplace.seen()] == ["after 0", "after 1", "after 2"]


@pytest.mark.parametrize("name", ["HastyHerokuWorker", "HastyWarmHerokuWorker"])
def test_dyno_shutdown_fails_the_job_and_closes_politely(
    workplace: Workplace, aborted: Callable[[], int], name: str
) -> None:
    """`ShutDownImminentException` may strike anywhere: the job is rolled back, the horse still says goodbye."""
    job = workplace.enqueue("insert_and_wait", "lost")

    worker = workplace.worker(f"tests.rq.workers.{name}", burst=False)
    worker.wait_for(r"waiting (\d+)")
    worker.send(signal.SIGTERM)
    worker.succeed()

    assert "ShutDownImminentException" in workplace.error_of(job)
    assert workplace.seen() == []
    assert aborted() == 0


@each_forking
def test_callbacks_in_the_parent_leave_nothing_for_the_next_horse(workplace: Workplace, name: str) -> None:
    """RQ runs `on_stopped` in the worker: its connection is closed before the next horse is forked."""
    stopped = workplace.enqueue("insert_and_wait", "lost", on_stopped=Callback("tests.rq.jobs.insert_when_stopped"))
    after = workplace.enqueue("count_sessions", "after")

    worker = workplace.worker(name, "--max-jobs", "2", burst=False)
    worker.wait_for(r"waiting (\d+)")
    send_stop_job_command(workplace.queue.connection, stopped.id)
    worker.succeed()

    assert stopped.get_status() == JobStatus.STOPPED
    ((_, pid, session),) = workplace.seen("stopped")
    assert pid == worker.pid
    assert after.return_value() == 1
    assert workplace.seen("after")[0][2] != session
    assert workplace.seen("lost") == []


def test_failure_callback_has_a_transaction_of_its_own(workplace: Workplace) -> None:
    """A callback runs where the job ran, after its rollback: what it writes is kept."""
    workplace.enqueue("insert_and_raise", "lost", on_failure=Callback("tests.rq.jobs.insert_when_failed"))

    workplace.worker().succeed()

    assert [row[0] for row in workplace.seen()] == ["failed"]


def test_next_job_never_commits_what_one_has_left_open(workplace: Workplace) -> None:
    """In one process: a proxy's transaction and a lease that nobody ended are rolled back when the job is over."""
    workplace.enqueue("insert_by_proxy_uncommitted", "forgotten")
    workplace.enqueue("insert_by_proxy", "committed")
    workplace.enqueue("insert_in_lease_left_open", "open")
    workplace.enqueue("insert", "returned")

    output = workplace.worker("SimpleWorker").succeed()

    assert [row[0] for row in workplace.seen()] == ["committed", "returned"]
    assert "left a lease open, which is rolled back" in output
    assert len({session for _, _, session in workplace.seen()}) == 1, "the connection was not given back"


def test_client_that_hangs_at_its_goodbye_holds_no_horse(workplace: Workplace, tmp_path: Path) -> None:
    """The goodbye is bounded: RQ would let such a horse hang until a minute after its job's timeout."""
    environ = write_module(tmp_path, "hanging", _HANGING)
    jobs = [workplace.queue.enqueue("hanging.job") for _ in range(2)]

    worker = workplace.worker(**environ)
    output = worker.succeed(20)

    assert [job.get_status() for job in jobs] == [JobStatus.FINISHED] * 2
    assert output.count("closing") == 2
    assert "terminated unexpectedly" not in output


@pytest.mark.parametrize("name", ["rq.worker.Worker", "rq.worker.SimpleWorker"])
def test_stock_worker_runs_decorated_jobs_too(workplace: Workplace, name: str) -> None:
    """The promise is kept at the moment of use: RQ's own classes lack the early check and the goodbye, nothing else."""
    workplace.enqueue("insert_and_raise", "raised")
    workplace.enqueue("insert_and_retry", "retried")
    workplace.enqueue("insert", "returned")

    workplace.worker(name, TASKCONN_URL=workplace.database.url).succeed()

    assert [row[0] for row in workplace.seen()] == ["returned", "retried"]
