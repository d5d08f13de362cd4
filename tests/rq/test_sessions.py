"""RQ's worker classes at work on a real MariaDB: who used which session, as the server has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rq import Queue

from tests.rq.conftest import Workplace

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("name", "command", "jobs"),
    [
        pytest.param("Worker", "worker", 500, id="Worker"),
        pytest.param("RoundRobinWorker", "worker", 500, id="RoundRobinWorker"),
        pytest.param("RandomWorker", "worker", 500, id="RandomWorker"),
        pytest.param("HerokuWorker", "worker", 500, id="HerokuWorker"),
        pytest.param("SimpleWorker", "worker", 500, id="SimpleWorker"),
        pytest.param("WarmWorker", "worker", 500, id="WarmWorker"),
        pytest.param("WarmHerokuWorker", "worker", 500, id="WarmHerokuWorker"),
        pytest.param("WarmWorker", "worker-pool", 500, id="worker-pool of WarmWorker"),
        pytest.param("Worker", "worker-pool", 500, id="worker-pool"),
        pytest.param("SpawnWorker", "worker", 20, id="SpawnWorker"),
    ],
)
def test_no_session_is_used_by_two_processes(
    workplace: Workplace, aborted: Callable[[], int], name: str, command: str, jobs: int
) -> None:
    """Each process has sessions of its own, none is the parent's, which survives; and every one ends with a goodbye."""
    names = [f"job {number}" for number in range(jobs)]
    workplace.queue.enqueue_many([Queue.prepare_data("tests.rq.jobs.insert", args=(each,)) for each in names])
    words = ("-n", "2", "-q") if command == "worker-pool" else ("-q",)

    worker = workplace.worker(name, *words, command=command, TEST_TAKE_AT_IMPORT="1")
    output = worker.succeed(200)

    rows = [row for row in workplace.seen() if row[0].startswith("job")]
    assert sorted(row[0] for row in rows) == sorted(names), output
    pids_of: dict[int, set[int]] = {}
    for _, pid, session in workplace.seen():
        pids_of.setdefault(session, set()).add(pid)
    assert [pids for pids in pids_of.values() if len(pids) > 1] == []
    parents = {session for _, pid, session in workplace.seen("taken", "held") if pid == worker.pid}
    assert len(parents) == 2
    assert parents.isdisjoint(session for _, _, session in rows)
    assert len([row for row in workplace.seen("held") if row[1] == worker.pid]) == 2, "the parent's own work is lost"
    assert aborted() == 0


def test_parent_holds_no_idle_connection_across_a_fork(workplace: Workplace) -> None:
    """What is open and unused in the parent when a horse is started is closed: the horse's session is the only one."""
    source_of_parent = "import os; from tests.rq.settings import *; import taskconn; from tests.rq import jobs\n"
    source_of_parent += "taskconn.configure(TASKCONN_DATABASES); jobs.conn.ping(); jobs.conn.commit()\n"
    source_of_parent += "from redis import Redis; from taskconn.rq import Worker\n"
    source_of_parent += "Worker(['default'], connection=Redis.from_url(REDIS_URL)).work(burst=True)"
    job = workplace.enqueue("count_sessions", "one")

    workplace.start(source_of_parent, environ=workplace.environ).succeed()

    assert job.return_value() == 1


@pytest.mark.parametrize("name", ["SimpleWorker", "WarmWorker"])
def test_connection_is_kept_between_jobs(workplace: Workplace, aborted: Callable[[], int], name: str) -> None:
    """A process that runs many jobs opens one connection for all of them, and closes it at its end."""
    for number in range(3):
        workplace.enqueue("insert", f"job {number}")

    workplace.worker(name).succeed()

    assert len({session for _, _, session in workplace.seen()}) == 1
    assert aborted() == 0


def test_spawned_horse_reads_the_settings_module_itself(workplace: Workplace) -> None:
    """A fresh interpreter has nothing of the worker's but the environment: the module is named there."""
    job = workplace.enqueue("where")

    workplace.worker("SpawnWorker").succeed()

    assert job.return_value() == workplace.database.name


@pytest.mark.parametrize("name", ["Worker", "SimpleWorker", "SpawnWorker", "WarmWorker"])
def test_warm_alias_is_open_before_the_job_begins(workplace: Workplace, name: str) -> None:
    """`warm=True` opens in the process that runs the job."""
    job = workplace.enqueue("opens_before_use")

    workplace.worker(name, TEST_WARM="1").succeed()

    assert job.return_value() == 1
