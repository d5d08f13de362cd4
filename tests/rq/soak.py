"""
Many jobs through warm workers, while jobs fail, time out, are stopped, and horses are killed; then all is counted.

``make soak``, or ``python -m tests.rq.soak --jobs 20000``. Each job leaves a note in Redis when it begins, which
nothing takes back, and a row in MariaDB, which its outcome decides. So it is known of every job how often it ran, in
which process, and what was committed. A stop is aimed at a job that runs; a kill at a horse, whatever it does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psutil
from redis import Redis as Client
from rq import Queue, get_current_job
from rq.command import send_command
from rq.job import Job, JobStatus

from examples.servers import MariaDB, Redis
from taskconn import with_db
from tests.support.process import Script

#: Longest wait for progress of any kind, in seconds.
_PATIENCE_S = 120.0

#: Most that a process may grow between the first fifth of its work and the end, in MiB.
_FLAT_MIB = 8.0

#: What no worker says if all is well; tracebacks of jobs that fail are expected.
_UNEXPECTED = r"unhandled exception|could not store|Exception in thread|Exception ignored|work horse \d+ ends"

_BEGUN = "soak:begun"


@with_db
def work(db: Any, number: int, kind: str) -> int:
    """Note that this job has begun, write a row, and end as *kind* says."""
    job = get_current_job()
    assert job is not None
    with job.connection.pipeline() as pipeline:
        pipeline.rpush(f"soak:{number}", os.getpid())
        pipeline.incr(_BEGUN)
        pipeline.execute()
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO done (number) VALUES (%s)", (number,))
        if kind == "sleeps":
            time.sleep(0.02)
        elif kind == "times out in a statement":
            cursor.execute("SELECT SLEEP(30)")
        elif kind == "times out":
            time.sleep(30)
    if kind == "fails":
        raise ValueError(number)
    return number


@dataclass
class Plan:
    """
    Say what is to happen.

    Attributes:
        jobs: Number of jobs, 1 % of which fail and 1 % of which run into their limit of 1 second.
        stops, kills: Numbers of commands and of signals.
        workers: Number of workers at once.
        calm: Number of jobs that one horse runs afterwards, undisturbed, while its memory is watched.
        seed: Makes the same plan again.
    """

    jobs: int = 20_000
    stops: int = 200
    kills: int = 100
    workers: int = 2
    calm: int = 5_000
    seed: int = 1

    def kinds(self) -> list[str]:
        """Say how each job is to end."""
        chance = random.Random(self.seed)
        share = max(1, self.jobs // 100)
        kinds = ["fails"] * share + ["times out"] * (share // 2) + ["times out in a statement"] * (share - share // 2)
        kinds += ["sleeps"] * (self.jobs // 20)
        kinds += ["returns"] * (self.jobs - len(kinds))
        chance.shuffle(kinds)
        return kinds

    def events(self) -> list[tuple[int, str]]:
        """Say after how many jobs what is done, in order."""
        chance = random.Random(self.seed + 1)
        wanted = ["stop"] * self.stops + ["kill"] * self.kills
        return sorted((chance.randrange(self.jobs * 95 // 100), event) for event in wanted)


@dataclass
class Report:
    """
    Hold what came of it.

    Attributes:
        ends: How many jobs of each kind ended how.
        wrong: Sentences on what ought not to have happened; empty if all is well.
        figures: Name and value, for the reader.
    """

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{number:6}  {kind}: {end}" for (kind, end), number in sorted(self.ends.items())]
        lines += [f"{name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"WRONG: {sentence}" for sentence in self.wrong[:40])])


class Soak:
    """Do what a plan says, over servers of its own."""

    def __init__(self, plan: Plan, mariadb: MariaDB, redis: Redis, stack: ExitStack) -> None:
        self.plan = plan
        self.report = Report()
        self._stack = stack
        self._mariadb = mariadb
        self._connection = Client(host=redis.host, port=redis.port)
        self._queue = Queue("soak", connection=self._connection)
        self._targets: set[str] = set()
        self._killed: set[int] = set()
        self._chance = random.Random(plan.seed + 2)
        mariadb.query("CREATE DATABASE soak")
        mariadb.query("CREATE TABLE soak.done (number INT, KEY (number))")
        self._environ = {
            "TASKCONN_URL": mariadb.url("soak"),
            "RQ_REDIS_URL": f"redis://{redis.host}:{redis.port}",
            "TASKCONN_WARM_MAX_JOBS": "0",
        }

    def run(self) -> Report:
        """Run it all."""
        started = time.monotonic()
        kinds = self.plan.kinds()
        self._enqueue(kinds)
        workers = {f"worker-{number}": self._worker(f"worker-{number}") for number in range(self.plan.workers)}
        sizes: dict[str, list[float]] = {name: [] for name in workers}
        for after, event in self.plan.events():
            self._wait_for(after)
            for name, worker in workers.items():
                sizes[name].append(_mib(worker.pid))
            (self._stop if event == "stop" else self._kill)(workers)
        self._wait_for_end(len(kinds), workers)
        self.report.figures["seconds"] = f"{time.monotonic() - started:.0f}"
        for name, worker in workers.items():
            self._look_at(name, [*sizes[name], _mib(worker.pid)])
            self._end(name, worker)
        self._account_for(kinds)
        if self.plan.calm:
            self._stay_calm()
        return self.report

    def _enqueue(self, kinds: Sequence[str]) -> None:
        for begin in range(0, len(kinds), 500):
            self._queue.enqueue_many(
                [
                    Queue.prepare_data(
                        work,
                        kwargs={"number": number, "kind": kinds[number]},
                        job_id=str(number),
                        timeout=1 if kinds[number].startswith("times out") else 60,
                        result_ttl=86_400,
                        failure_ttl=86_400,
                    )
                    for number in range(begin, min(begin + 500, len(kinds)))
                ]
            )

    def _worker(self, name: str, **environ: str) -> Script:
        command = [sys.executable, "-m", "rq.cli", "worker", "-w", "taskconn.rq.WarmWorker", "-n", name, "-q", "soak"]
        command += ["--disable-job-desc-logging"]
        return self._stack.enter_context(Script(command, environ={**self._environ, **environ}))

    def _begun(self) -> int:
        return int(self._connection.get(_BEGUN) or 0)

    def _wait_for(self, begun: int) -> None:
        """Wait until so many jobs have begun; those that were killed before they could say so don't count."""
        last, at = -1, time.monotonic()
        while (now := self._begun()) < begun and not self._is_empty():
            if now != last:
                last, at = now, time.monotonic()
            assert time.monotonic() < at + _PATIENCE_S, f"no job has begun for {_PATIENCE_S} s, after {now}"
            time.sleep(0.001)

    def _is_empty(self) -> bool:
        return not self._queue.count

    def _wait_for_end(self, jobs: int, workers: dict[str, Script]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self._queue.count or any(self._executions(name) for name in workers):
            if self._queue.count:
                deadline = time.monotonic() + _PATIENCE_S
            assert time.monotonic() < deadline, f"{jobs} jobs have not come to an end"
            time.sleep(0.05)

    def _executions(self, name: str) -> list[str]:
        return [key.decode().partition(":")[0] for key in self._connection.smembers(f"rq:worker:{name}:executions")]

    def _stop(self, workers: dict[str, Script]) -> None:
        """Stop a job that runs, or has just run."""
        name = self._chance.choice(list(workers))
        while not self._is_empty():
            for job_id in self._executions(name):
                self._targets.add(job_id)
                time.sleep(self._chance.uniform(0, 0.005))
                send_command(self._connection, name, "stop-job", job_id=job_id)
                return

    def _kill(self, workers: dict[str, Script]) -> None:
        """Kill a horse, whatever it does."""
        worker = self._chance.choice(list(workers.values()))
        while not self._is_empty():
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(worker.pid).children():
                    time.sleep(self._chance.uniform(0, 0.005))
                    self._killed.add(child.pid)
                    child.kill()
                    return

    def _look_at(self, name: str, sizes: list[float]) -> None:
        """Compare the memory of a worker after a fifth of the run with that at its end."""
        early = sizes[len(sizes) // 5]
        self.report.figures[f"memory of {name}"] = f"{early:.1f} MiB after a fifth, {sizes[-1]:.1f} MiB at the end"
        if sizes[-1] > early + _FLAT_MIB:
            self.report.wrong.append(f"{name} has grown from {early:.1f} to {sizes[-1]:.1f} MiB")

    def _end(self, name: str, worker: Script) -> None:
        children = psutil.Process(worker.pid).children(recursive=True)
        zombies = [child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE]
        if zombies or len(children) > 1:
            self.report.wrong.append(f"{name} has {len(children)} children, {len(zombies)} of them zombies")
        self.report.figures[f"descriptors of {name}"] = str(psutil.Process(worker.pid).num_fds())
        if worker.stop() != 0:
            self.report.wrong.append(f"{name} ended with {worker.returncode}")
        left = [child.pid for child in children if psutil.pid_exists(child.pid)]
        if left:
            self.report.wrong.append(f"{name} has left the processes {left}")
        for found in re.finditer(_UNEXPECTED, worker.output):
            self.report.wrong.append(f"{name} has logged: {worker.output[found.start() :][:2000]}")

    def _account_for(self, kinds: Sequence[str]) -> None:
        rows = Counter(int(row[0]) for row in self._mariadb.query("SELECT number FROM soak.done"))
        killed = 0
        for begin in range(0, len(kinds), 500):
            numbers = range(begin, min(begin + 500, len(kinds)))
            jobs = Job.fetch_many([str(number) for number in numbers], connection=self._connection)
            with self._connection.pipeline() as pipeline:
                for number in numbers:
                    pipeline.lrange(f"soak:{number}", 0, -1)
                begun = [[int(pid) for pid in pids] for pids in pipeline.execute()]
            for number, job, pids in zip(numbers, jobs, begun, strict=True):
                end = self._end_of(job, pids)
                self.report.ends[kinds[number], end] += 1
                killed += end == "killed"
                if wrong := self._wrong(str(number) in self._targets, kinds[number], end, pids, rows[number]):
                    self.report.wrong.append(f"job {number}, which {kinds[number]}, {end}: {wrong}")
        self.report.figures["stop commands"] = str(self.plan.stops)
        self.report.figures["horses killed"] = str(len(self._killed))
        if killed > len(self._killed):
            self.report.wrong.append(f"{killed} jobs died of {len(self._killed)} kills")
        for name, left in (
            ("queue", self._queue.count),
            ("intermediate queue", self._connection.llen(self._queue.intermediate_queue_key)),
            ("registry of started jobs", self._queue.started_job_registry.get_job_count(cleanup=False)),
        ):
            if left:
                self.report.wrong.append(f"{left} jobs are left in the {name}")

    def _end_of(self, job: Job | None, pids: list[int]) -> str:
        assert job is not None
        status = job.get_status(refresh=False)
        if status != JobStatus.FAILED:
            return str(status.value)
        result = job.latest_result()
        text = str(result.exc_string) if result is not None else ""
        if "Work-horse terminated unexpectedly" in text and (not pids or pids[-1] in self._killed):
            return "killed"
        return text.rstrip().splitlines()[-1].partition(":")[0] if text else "failed without a reason"

    @staticmethod
    def _wrong(is_target: bool, kind: str, end: str, pids: list[int], rows: int) -> str:
        """Say what of a job's facts can't be, in a run of RQ's own workers; "" if they can."""
        expected = {"fails": "ValueError", "returns": "finished", "sleeps": "finished"}.get(
            kind, "rq.timeouts.JobTimeoutException"
        )
        allowed = {expected, "killed"} | ({"stopped"} if is_target else set())
        if end not in allowed:
            return f"it may end as {', '.join(sorted(allowed))}"
        if len(pids) > 1:
            return f"it ran in the processes {pids}"
        if end == expected and len(pids) != 1:
            return "it has never begun"
        if end == "finished" and rows != 1:
            return f"it left {rows} rows"
        if end in {"ValueError", "rq.timeouts.JobTimeoutException"} and rows:
            return f"it left {rows} rows"
        return "it left more than one row" if rows > 1 else ""

    def _stay_calm(self) -> None:
        """Let one horse run many jobs, and compare its memory after a fifth of them with that at the end."""
        self._connection.flushdb()
        self._mariadb.query("TRUNCATE soak.done")
        worker = self._worker("calm", TASKCONN_WARM_MAX_GROWTH="0")
        self._enqueue(["returns"] * self.plan.calm)
        self._wait_for(self.plan.calm // 5)
        (horse,) = psutil.Process(worker.pid).children()
        early = (_mib(worker.pid), _mib(horse.pid))
        self._wait_for(self.plan.calm)
        self._wait_for_end(self.plan.calm, {"calm": worker})
        late = (_mib(worker.pid), _mib(horse.pid))
        for name, before, after in zip(("worker", "horse"), early, late, strict=True):
            self.report.figures[f"memory of the calm {name}"] = (
                f"{before:.1f} MiB after {self.plan.calm // 5} jobs, {after:.1f} MiB after {self.plan.calm}"
            )
            if after > before + _FLAT_MIB:
                self.report.wrong.append(f"the calm {name} has grown from {before:.1f} to {after:.1f} MiB")
        self._end("calm", worker)


def _mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)


def run(plan: Plan) -> Report:
    """Run *plan* with servers of its own."""
    with ExitStack() as stack:
        mariadb, redis = stack.enter_context(MariaDB()), stack.enter_context(Redis())
        return Soak(plan, mariadb, redis, stack).run()


def main(words: Iterable[str] | None = None) -> int:
    """Run it, print the report; 1 if anything is wrong."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # servers and workers are left tidy
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    for name in ("jobs", "stops", "kills", "workers", "calm", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    plan = Plan(**vars(parser.parse_args(words)))
    report = run(plan)
    print(f"{plan}\n{report}")
    return int(bool(report.wrong))


if __name__ == "__main__":
    from tests.rq import soak  # jobs are found by the name of their module

    sys.exit(soak.main())
