"""A worker with a warm horse: what stays as with a fork for each job, whatever happens to the horse."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from rq import Callback
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.job import JobStatus
from rq.suspension import resume, suspend

from tests.rq.conftest import Workplace
from tests.support.process import Script

#: Longest wait for what is only a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0


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
    worker, first = _idle(workplace)

    os.kill(first, signal.SIGKILL)
    second = workplace.enqueue_warm("pid")
    worker.wait_for("Job OK", count=2)

    assert second.return_value() not in {None, first}
    assert worker.stop() == 0


def test_job_that_no_horse_has_begun_is_given_to_another_one(workplace: Workplace) -> None:
    """A horse that dies between a job's arrival and its beginning has not run it: the job runs once, and succeeds."""
    jobs = [workplace.enqueue("insert", f"job {number}") for number in range(3)]

    output = workplace.worker("tests.rq.workers.HorseEndsBeforeItBegins").succeed()

    assert "ended before it began its job" in output
    assert [job.get_status() for job in jobs] == [JobStatus.FINISHED] * 3
    assert [row[0] for row in workplace.seen()] == ["job 0", "job 1", "job 2"]
    assert len({row[1] for row in workplace.seen()}) == 2


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

    _until(lambda: workplace.refreshed(job).last_heartbeat != first)
    workplace.queue.connection.rpush("told", 1)

    worker.succeed()
    assert job.get_status() == JobStatus.FINISHED


def test_nothing_of_rqs_record_of_one_job_is_seen_by_the_next(workplace: Workplace) -> None:
    """What RQ keeps of the running execution in the worker object is new for each job."""
    jobs = [workplace.enqueue_warm("pid") for _ in range(3)]

    workplace.worker("tests.rq.workers.Recording").succeed()

    states = [state.decode() for state in workplace.queue.connection.lrange("states", 0, -1)]
    assert states == [repr([1, 1, None, job.id]) for job in jobs]


@pytest.mark.parametrize("warm", ["", "--with-scheduler"], ids=["alone", "beside a scheduler"])
def test_idle_horse_leaves_when_its_worker_is_killed(
    workplace: Workplace, aborted: Callable[[], int], warm: str
) -> None:
    """It notices the end of its worker, even while another child of the worker lives on, and says goodbye."""
    workplace.enqueue("insert", "one")
    worker, horse = _idle(workplace, *([warm] if warm else []))

    worker.send(signal.SIGKILL)
    _until(lambda: not psutil.pid_exists(horse) or psutil.Process(horse).status() == psutil.STATUS_ZOMBIE)

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

    _until(lambda: job.get_status() == JobStatus.FINISHED)
    _until(lambda: not psutil.pid_exists(horse) or psutil.Process(horse).status() == psutil.STATUS_ZOMBIE)


def test_working_horse_finishes_its_job_when_its_worker_fails(workplace: Workplace) -> None:
    """A worker that leaves by an error of its own kills nobody."""
    job = workplace.enqueue_warm("wait_until_told", "told")

    worker = workplace.worker("tests.rq.workers.FailingMonitor")
    worker.wait_for("found an unhandled exception, quitting")
    worker.wait()
    workplace.queue.connection.rpush("told", 1)

    _until(lambda: job.get_status() == JobStatus.FINISHED)


def test_warm_shutdown_waits_for_the_job(workplace: Workplace) -> None:
    """SIGTERM to the worker: the job that runs is finished, no other one begins, and the horse is gone."""
    job, after = workplace.enqueue_warm("wait_until_told", "told"), workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", burst=False)
    horse = int(worker.wait_for(r"waiting (\d+)")[1])

    worker.send(signal.SIGTERM)
    worker.wait_for("warm shut down requested")
    workplace.queue.connection.rpush("told", 1)
    worker.succeed()

    assert job.return_value() == horse
    assert after.get_status() == JobStatus.QUEUED
    assert not psutil.pid_exists(horse)


def test_cold_shutdown_kills_the_horse(workplace: Workplace) -> None:
    """The second SIGTERM, a second later, ends the worker and its horse; the job is left as RQ leaves it."""
    job = workplace.enqueue_warm("wait")
    worker = workplace.worker("WarmWorker", burst=False)
    horse = int(worker.wait_for(r"waiting (\d+)")[1])

    worker.send(signal.SIGTERM)
    worker.wait_for("warm shut down requested")
    _until(lambda: worker.send(signal.SIGTERM) or "cold shut down" in worker.output)
    worker.wait()

    assert not psutil.pid_exists(horse)
    assert job.get_status() == JobStatus.STARTED


@pytest.mark.parametrize("both", [False, True], ids=["worker", "worker and horse"])
def test_idle_worker_ends_at_once(workplace: Workplace, aborted: Callable[[], int], both: bool) -> None:
    """SIGTERM to an idle worker, or to all processes as systemd and Heroku send it, ends both with a goodbye."""
    workplace.enqueue("insert", "one")
    worker, horse = _idle(workplace)

    if both:
        os.kill(horse, signal.SIGTERM)
    assert worker.stop() == 0

    assert not psutil.pid_exists(horse)
    assert aborted() == 0


def test_stopped_job_runs_its_callback_in_the_worker(workplace: Workplace) -> None:
    """``stop-job``: the horse is killed, the job STOPPED, the callback run by the worker."""
    before = workplace.enqueue_warm("pid")
    stopped = workplace.enqueue("insert_and_wait", "lost", on_stopped=Callback("tests.rq.jobs.insert_when_stopped"))
    after = workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker")
    worker.wait_for(r"waiting (\d+)")

    send_stop_job_command(workplace.queue.connection, stopped.id)
    worker.succeed()

    assert stopped.get_status() == JobStatus.STOPPED
    assert [row[1] for row in workplace.seen()] == [worker.pid]
    assert before.return_value() != after.return_value() is not None


def test_killed_horses_handler_is_called_in_the_worker(workplace: Workplace) -> None:
    """``kill-horse``: the job fails, and `work_horse_killed_handler` gets what it gets from RQ."""
    source = """
from redis import Redis
from rq import Queue
from taskconn.rq import WarmWorker
import os
connection = Redis.from_url(os.environ["TEST_REDIS_URL"])
def handler(job, pid, status, usage):
    print("handler", job.id, pid, os.WTERMSIG(status), usage.ru_utime >= 0, os.getpid(), flush=True)
queue = Queue(connection=connection)
WarmWorker([queue], name="mine", connection=connection, work_horse_killed_handler=handler).work(burst=True)
"""
    job = workplace.enqueue_warm("wait")
    worker = workplace.start(source, environ=workplace.environ)
    horse = worker.wait_for(r"waiting (\d+)")[1]

    send_kill_horse_command(workplace.queue.connection, "mine")
    worker.succeed()

    assert f"handler {job.id} {horse} 9 True {worker.pid}" in worker.output
    assert job.get_status() == JobStatus.FAILED


def test_suspended_worker_runs_nothing_and_keeps_its_horse(workplace: Workplace) -> None:
    """``rq suspend`` and ``rq resume`` are obeyed between two jobs."""
    job, after = workplace.enqueue_warm("wait_until_told", "told"), workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", burst=False)
    worker.wait_for("waiting")

    suspend(workplace.queue.connection)
    workplace.queue.connection.rpush("told", 1)
    worker.wait_for("suspended, run")
    assert after.get_status() == JobStatus.QUEUED
    resume(workplace.queue.connection)
    worker.wait_for("Job OK", count=2)

    assert job.return_value() == after.return_value()
    assert worker.stop() == 0


def test_idle_horse_closes_its_connections(workplace: Workplace) -> None:
    """After `max_idle` seconds an idle horse holds no session of the database; the next job runs in it all the same."""
    workplace.enqueue("insert", "one")
    worker, horse = _idle(workplace, TASKCONN_WARM_MAX_IDLE="1")
    clients = len(workplace.queue.connection.client_list())

    _until(lambda: not workplace.database.server.sessions())
    _until(lambda: len(workplace.queue.connection.client_list()) == clients - 1)
    workplace.enqueue("insert", "two")
    worker.wait_for("Job OK", count=3)

    assert [row[1] for row in workplace.seen()] == [horse, horse]
    assert len({row[2] for row in workplace.seen()}) == 2
    assert worker.stop() == 0


def test_horse_whose_redis_connections_were_cut_goes_on(workplace: Workplace) -> None:
    """redis-py opens new ones: nothing of the next job is lost."""
    worker, horse = _idle(workplace)

    for client in workplace.queue.connection.client_list():
        if client["name"] == "" and client["id"] != workplace.queue.connection.client_id():
            workplace.queue.connection.client_kill_filter(_id=client["id"])
    job = workplace.enqueue_warm("pid")
    _until(lambda: job.get_status() == JobStatus.FINISHED)

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


def _idle(workplace: Workplace, *words: str, **environ: str) -> tuple[Script, int]:
    """Start a worker, and let it run what is queued and one job more; return it and its horse, which is idle then."""
    job = workplace.enqueue_warm("pid")
    worker = workplace.worker("WarmWorker", *words, burst=False, **environ)
    _until(lambda: job.get_status() == JobStatus.FINISHED)
    pid = job.return_value()
    assert isinstance(pid, int)
    # The worker has taken note of it when it says so in Redis.
    _until(lambda: workplace.queue.connection.hget(_key(workplace), "state") == b"idle")
    return worker, pid


def _key(workplace: Workplace) -> str:
    (key,) = workplace.queue.connection.smembers("rq:workers")
    return str(key.decode())


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)
