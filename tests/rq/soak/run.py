"""Does what a plan says, over servers of its own."""

from __future__ import annotations

import contextlib
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import psutil
from redis import Redis as Client
from rq import Queue
from rq.command import send_command

from examples.servers import MariaDB, Redis
from tests.rq.soak.accounts import Accounts
from tests.rq.soak.jobs import BEGUN, work
from tests.rq.soak.plan import Plan, Report
from tests.support.process import Script

#: Longest wait for progress of any kind, in seconds.
_PATIENCE_S = 120.0

#: Most that a process may grow between the first fifth of its work and the end, in MiB.
_FLAT_MIB = 8.0

#: What no worker says if all is well; tracebacks of jobs that fail are expected.
_UNEXPECTED = r"unhandled exception|could not store|Exception in thread|Exception ignored|work horse \d+ ends"


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
        return int(self._connection.get(BEGUN) or 0)

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
        if set(zombies) - self._killed or len(children) > 1:  # an idle horse that was killed is collected later
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
        Accounts(self.report, self._queue, self._targets, self._killed).settle(kinds, rows)
        self.report.figures["stop commands"] = str(self.plan.stops)
        self.report.figures["horses killed"] = str(len(self._killed))

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
