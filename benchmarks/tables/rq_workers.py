"""What a job costs with RQ's workers, and with taskconn's: jobs in a row, and one that finds an idle worker."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from rq import Queue

from tests.support.process import Script

from ..clients import Client, pymysql_client
from ..harness import Case, Column, Contender, Measure, Table
from ..stage import Stage

#: Longest wait for a round's jobs, in seconds.
_PATIENCE_S = 120.0

_STOCK, _OURS = "benchmarks.programs.rq_stock_jobs", "benchmarks.programs.rq_taskconn_jobs"


@dataclass(frozen=True)
class _Way:
    """
    Say how jobs are run.

    Attributes:
        worker: Class of the worker.
        job: Function, by its dotted name.
        jobs: Number of jobs in a row.
        singles: Number of jobs whose latency is measured.
        workers: Number of workers in a pool; 0 is a worker by itself.
        preload: Modules that taskconn's worker imports before it forks; or the stock worker, by its settings module.
    """

    worker: str
    job: str
    jobs: int
    singles: int
    workers: int = 0
    preload: str = ""


_INSERT = {
    "Worker, a connection per job": _Way("rq.worker.Worker", f"{_STOCK}.insert_over_new", 20, 10),
    "the same, PyMySQL imported before": _Way("rq.worker.Worker", f"{_STOCK}.insert_over_new", 30, 10, preload=_STOCK),
    "SimpleWorker, a global connection": _Way("rq.worker.SimpleWorker", f"{_STOCK}.insert_over_global", 500, 50),
    "taskconn.rq.Worker": _Way("taskconn.rq.Worker", f"{_OURS}.insert", 60, 20),
    "taskconn.rq.Worker, preload": _Way("taskconn.rq.Worker", f"{_OURS}.insert", 60, 20, preload=_OURS),
    "taskconn.rq.WarmWorker": _Way("taskconn.rq.WarmWorker", f"{_OURS}.insert", 500, 50),
    "worker-pool of 2, Worker, a connection per job": _Way(
        "rq.worker.Worker", f"{_STOCK}.insert_over_new", 30, 10, workers=2
    ),
    "worker-pool of 2, taskconn.rq.WarmWorker": _Way("taskconn.rq.WarmWorker", f"{_OURS}.insert", 600, 50, workers=2),
}

_NOTHING = {
    "Worker": _Way("rq.worker.Worker", f"{_STOCK}.nothing", 50, 20),
    "SimpleWorker": _Way("rq.worker.SimpleWorker", f"{_STOCK}.nothing", 500, 50),
    "taskconn.rq.Worker": _Way("taskconn.rq.Worker", f"{_OURS}.nothing", 60, 20),
    "taskconn.rq.WarmWorker": _Way("taskconn.rq.WarmWorker", f"{_OURS}.nothing", 500, 50),
}


class _Worker:
    """Run a worker, or a pool of them, that waits for jobs in a Redis database of its own."""

    def __init__(self, stage: Stage, client: Client, way: _Way, db: int) -> None:
        self._way = way
        self._redis = stage.redis.connect(db)
        self._redis.flushdb()
        self._queue = Queue("bench", connection=self._redis)
        self._staging = Queue("staging", connection=self._redis)
        environ = {
            "BENCH_ARGUMENTS": json.dumps(client.arguments),
            "TASKCONN_URL": client.url,
            "TASKCONN_WARM_MAX_JOBS": "0",
        }
        words = ["-w", way.worker, "-u", stage.redis.url(db), "bench"]
        if way.preload and way.worker.startswith("taskconn."):
            environ["TASKCONN_PRELOAD"] = way.preload
        elif way.preload:
            words += ["-c", way.preload]
        command = ["worker-pool", "-n", str(way.workers), *words] if way.workers else ["worker", *words]
        command.insert(1, "--quiet")  # five lines of log for each job would be the same for all
        self._script = Script(
            [sys.executable, "-m", "rq.cli", *command], environ=environ, log_path=stage.folder / f"rq-{db}.log"
        )
        self._wait(lambda: len(self._redis.smembers("rq:workers")) >= max(1, way.workers))

    def run(self, who: str, jobs: int, singles: int) -> Mapping[str, float]:
        """
        Run *jobs* jobs that are all there before the first is taken, then *singles*, each when the one before is done.

        A round's jobs are enqueued to a list that nobody reads, which then gets the queue's name.
        """
        data = [Queue.prepare_data(self._way.job, args=(who,), result_ttl=600) for _ in range(jobs)]
        self._staging.enqueue_many(data)
        self._redis.delete(self._queue.finished_job_registry.key, self._staging.finished_job_registry.key)
        cpu_s = self._cpu_s()
        began = time.perf_counter()
        self._redis.rename(self._staging.key, self._queue.key)
        self._wait(lambda: self._finished() >= jobs, 0.005)
        elapsed_s = time.perf_counter() - began
        cpu_s = self._cpu_s() - cpu_s
        waits_ms = sorted(self._single(who) for _ in range(singles))
        return {
            "jobs_s": jobs / elapsed_s,
            "p50_ms": waits_ms[len(waits_ms) // 2],
            "p99_ms": waits_ms[min(len(waits_ms) - 1, len(waits_ms) * 99 // 100)],
            "cpu_ms": cpu_s / jobs * 1e3,
        }

    def stop(self) -> None:
        """End the worker."""
        self._script.kill()
        self._redis.close()

    def _single(self, who: str) -> float:
        """Give the milliseconds from enqueueing a job to its result."""
        began = time.perf_counter()
        job = self._queue.enqueue(self._way.job, who, result_ttl=600)
        result = job.latest_result(timeout=60)
        waited_ms = (time.perf_counter() - began) * 1e3
        if result is None or result.type != result.Type.SUCCESSFUL:
            raise RuntimeError(f"a job did not succeed: {result and result.exc_string}\n{self._script.output[-3000:]}")
        return waited_ms

    def _finished(self) -> int:
        keys = (self._queue.finished_job_registry.key, self._staging.finished_job_registry.key)
        return sum(int(self._redis.zcard(key)) for key in keys)

    def _wait(self, condition: Callable[[], bool], pause_s: float = 0.02) -> None:
        began = time.perf_counter()
        while not condition():
            if time.perf_counter() - began > _PATIENCE_S or self._script.returncode is not None:
                raise RuntimeError(f"the worker did not do its work: {self._script.output[-3000:]}")
            time.sleep(pause_s)

    def _cpu_s(self) -> float:
        """Give the CPU seconds of all its processes, those that have ended included."""
        total = 0.0
        for process in [psutil.Process(self._script.pid), *psutil.Process(self._script.pid).children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total


def _contender(stage: Stage, client: Client, way: _Way, db: int) -> Contender:
    jobs, singles = stage.times(way.jobs), stage.times(way.singles)

    @contextmanager
    def contender() -> Iterator[Measure]:
        worker = _Worker(stage, client, way, db)
        try:

            def measure() -> Mapping[str, float]:
                who = uuid.uuid4().hex
                figures = worker.run(who, jobs, singles)
                written = client.count(who)
                if written != (0 if way.job.endswith(".nothing") else jobs + singles):
                    raise RuntimeError(f"{written} rows were written where {jobs + singles} were expected")
                return figures

            yield measure
        finally:
            worker.stop()

    return contender


def cases(stage: Stage) -> Iterator[Case]:
    """Give the two kinds of job."""
    client, db = pymysql_client(stage), 1
    for name, ways in (("INSERT + commit, PyMySQL", _INSERT), ("nothing", _NOTHING)):
        contenders = {}
        for way_name, way in ways.items():
            contenders[way_name] = _contender(stage, client, way, db)
            db += 1
        yield Case(name, contenders)


TABLE = Table(
    name="rq",
    title="RQ: jobs of its workers, and of taskconn's",
    text=f"""
`rq worker --quiet` with a Redis, on a machine of {os.cpu_count()} cores that runs the servers, too; each job writes one
row and commits. All jobs of a round are in the queue before the first is taken. p50 and p99 are of single jobs that
find an idle worker: from `enqueue` to the result. CPU is that of all of the worker's processes. RQ's `Worker` forks for
each job, and `SimpleWorker` does not: there a crash, a time limit in a C library or a stop costs the worker.
""",
    columns=(
        Column("jobs_s", "jobs/s", 0),
        Column("p50_ms", "p50 ms", 1),
        Column("p99_ms", "p99 ms", 1),
        Column("cpu_ms", "ms of CPU per job", 1),
    ),
    cases=cases,
    rounds=7,
    more_is_better=True,
)
