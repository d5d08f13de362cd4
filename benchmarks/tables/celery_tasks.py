"""What a task costs in a real worker of Celery: prefork, two children, a broker and a database."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import celery
import psutil

from tests.support.process import Script

from ..clients import Client, psycopg_client, pymysql_client
from ..harness import Case, Column, Contender, Measure, Table
from ..programs.celery_project import WAYS
from ..stage import Stage

#: Longest wait for a round's tasks, in seconds.
_PATIENCE_S = 120.0


class _Worker:
    """Run ``celery worker`` with a way to get connections, on a Redis database of its own."""

    def __init__(self, stage: Stage, client: Client, way: str, db: int) -> None:
        self._redis = stage.redis.connect(db)
        self._redis.flushdb()
        broker = stage.redis.url(db)
        self._sender = celery.Celery("sender", broker=broker, set_as_current=False)
        self._sender.conf.update(task_default_queue="staging", task_ignore_result=True)
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.programs.celery_project:app", "worker"]
        command += ["--pool", "prefork", "-c", "2", "-Q", "bench", "--loglevel", "INFO"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        environ = {"BENCH_WAY": way, "BENCH_URL": client.url, "BENCH_BROKER": broker}
        self._script = Script(command, environ=environ, log_path=stage.folder / f"celery-{db}.log")
        self._script.wait_for(r"ready\.", 60)

    def run(self, who: str, tasks: int) -> Mapping[str, float]:
        """
        Run *tasks* tasks that are all there before the first is taken; gives what they took.

        They are sent to a list that nobody reads, which then gets the queue's name: the sender takes no time from the
        worker.
        """
        with self._sender.connection_for_write() as connection, self._sender.amqp.Producer(connection) as producer:
            for _ in range(tasks):
                self._sender.send_task("insert", (who,), producer=producer)
        assert self._redis.llen("staging") == tasks
        cpu_s, main_cpu_s = self._cpu_s()
        began = time.perf_counter()
        self._redis.rename("staging", "bench")
        while self._redis.exists("bench", "unacked"):
            if time.perf_counter() - began > _PATIENCE_S or self._script.returncode is not None:
                raise RuntimeError(f"the worker did not end its tasks: {self._script.output[-3000:]}")
            time.sleep(0.002)
        elapsed_s = time.perf_counter() - began
        after_s, main_after_s = self._cpu_s()
        return {
            "tasks_s": tasks / elapsed_s,
            "child_us": (after_s - cpu_s) / tasks * 1e6,
            "main_us": (main_after_s - main_cpu_s) / tasks * 1e6,
        }

    def stop(self) -> None:
        """End the worker."""
        self._script.kill()
        self._redis.close()

    def _cpu_s(self) -> tuple[float, float]:
        """Give the CPU seconds of the two children, and of the worker's own process."""
        main = psutil.Process(self._script.pid)
        children = main.children()
        if len(children) != 2:
            raise RuntimeError(f"the worker has {len(children)} children: {self._script.output[-3000:]}")
        return sum(map(_cpu_seconds, children)), _cpu_seconds(main)


def _cpu_seconds(process: psutil.Process) -> float:
    """Give the CPU seconds of a process and its threads, more exactly than in the kernel's ticks of 10 ms."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _contender(stage: Stage, client: Client, way: str, db: int, tasks: int) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        worker = _Worker(stage, client, way, db)
        try:

            def measure() -> Mapping[str, float]:
                who = uuid.uuid4().hex
                figures = worker.run(who, tasks)
                written = client.count(who)
                if written != tasks:
                    raise RuntimeError(f"{written} rows were written where {tasks} were expected")
                return figures

            yield measure
        finally:
            worker.stop()

    return contender


def cases(stage: Stage) -> Iterator[Case]:
    """Give each database."""
    db = 1
    for make in (pymysql_client, psycopg_client):
        client = make(stage)
        contenders = {}
        for way in WAYS:
            tasks = stage.times(20 if way == "connect per task" else 600)
            contenders[way] = _contender(stage, client, way, db, tasks)
            db += 1
        yield Case(f"INSERT + commit, {client.name}", contenders)


TABLE = Table(
    name="celery",
    title="Celery: tasks of a prefork worker",
    text=f"""
`celery worker --pool prefork -c 2` with a Redis broker, on a machine of {os.cpu_count()} cores that runs the servers,
too; each task writes one row and commits. All tasks of a round are in the queue before the first is taken. CPU is that
of the two children, per task; that of the worker's own process, which reads the queue, stands beside it. The
*DatabaseTask property* is the base class of Celery's manual.
""",
    columns=(
        Column("tasks_s", "tasks/s", 0),
        Column("child_us", "µs of CPU per task", 0),
        Column("main_us", "µs of the worker's CPU", 0),
    ),
    cases=cases,
    rounds=7,
    more_is_better=True,
)
