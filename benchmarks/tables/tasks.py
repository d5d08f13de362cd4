"""What a task costs in one process: connections got by taskconn and in all other ways, and three kinds of work."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from tests.support.wire import Wire

from ..clients import Client, mysqlclient_client, psycopg_client, pymysql_client, redis_client
from ..harness import Case, Column, Contender, Measure, Table
from ..stage import Stage
from ..ways import THREADS, Once, Way, Work, ways_of

#: Ways that open a connection for each task: a round of theirs has fewer tasks.
_OPENING = {"connect per task", "Django's way"}


def _contender(make: Callable[..., Client], stage: Stage, way: Way, work: str, threads: int, times: int) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        who = uuid.uuid4().hex
        client = make(stage)
        trips = count_round_trips(make, stage, way, work)
        with ExitStack() as stack:
            once = stack.enter_context(way(client, _work(client, work, who)))
            crew = _Crew(once, threads, times) if threads > 1 else None
            if crew is not None:
                stack.callback(crew.end)

            def measure() -> Mapping[str, float]:
                before = client.count(who)
                wall_us, cpu_us = _time(once, times) if crew is None else crew.round()
                written = client.count(who) - before
                expected = times * threads if work == "INSERT" else 0
                if written != expected:
                    raise RuntimeError(f"{written} rows were written where {expected} were expected")
                return {"wall_us": wall_us, "cpu_us": cpu_us, "trips": trips}

            yield measure

    return contender


def _work(client: Client, work: str, who: str) -> Work:
    if work == "nothing":
        return None
    if work == "SELECT 1":
        return client.select
    return lambda connection: client.insert(connection, who)


def count_round_trips(make: Callable[..., Client], stage: Stage, way: Way, work: str) -> float:
    """Count the round trips of a task that finds what it needs opened, over a wire that counts."""
    times = 5
    with Wire(make(stage).arguments["port"]) as wire:
        client = make(stage, wire.port)
        with way(client, _work(client, work, "counted")) as once:
            once()
            before = wire.requests
            for _ in range(times):
                once()
            return (wire.requests - before) / times


def _time(once: Once, times: int) -> tuple[float, float]:
    """
    Give the microseconds of a task: by the clock, and of this process's CPU.

    Each is the median of batches of ten tasks: one in which another program had the machine counts for little.
    """
    batches = max(1, times // 10)
    repeat = range(times // batches)
    walls, cpus = [], []
    for _ in range(batches):
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        for _ in repeat:
            once()
        walls.append(time.perf_counter_ns() - wall)
        cpus.append(time.process_time_ns() - cpu)
    tasks = len(repeat) * 1e3
    return statistics.median(walls) / tasks, statistics.median(cpus) / tasks


class _Crew:
    """Run a task in several threads at once, the same ones each time: some contenders keep things by thread."""

    def __init__(self, once: Once, threads: int, times: int) -> None:
        self._once = once
        self._tasks = threads * times
        self._times = times
        self._gate = threading.Barrier(threads + 1)
        self._errors: list[BaseException] = []
        self._has_ended = False
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for worker in self._workers:
            worker.start()

    def round(self) -> tuple[float, float]:
        """Give the microseconds of a round, by the clock and of CPU, through the number of all tasks."""
        self._gate.wait()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self._gate.wait()
        wall_ns, cpu_ns = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        if self._errors:
            raise self._errors[0]
        return wall_ns / self._tasks / 1e3, cpu_ns / self._tasks / 1e3

    def end(self) -> None:
        """End the threads."""
        self._has_ended = True
        self._gate.wait()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while True:
            self._gate.wait()
            if self._has_ended:
                return
            try:
                for _ in range(self._times):
                    self._once()
            except BaseException as error:  # noqa: BLE001 -- raised by `round`, in its thread
                self._errors.append(error)
            self._gate.wait()


#: Work -> tasks of one round.
_TIMES = {"nothing": 2_000, "SELECT 1": 300, "INSERT": 200}


def cases(stage: Stage) -> Iterator[Case]:
    """Give each client and kind of work with one thread, and with eight where a thread's work holds no GIL."""
    many = 2 if stage.is_quick else THREADS
    for make in (pymysql_client, mysqlclient_client, psycopg_client, redis_client):
        for work in _TIMES:
            yield _case(stage, make, work, 1)
        if make in (pymysql_client, psycopg_client):
            yield _case(stage, make, "SELECT 1", many)
            yield _case(stage, make, "INSERT", many)


def _case(stage: Stage, make: Callable[..., Client], work: str, threads: int) -> Case:
    client = make(stage)
    contenders = {}
    for name, way in ways_of(client).items():
        if threads > 1 and name == "Django's way":
            continue  # its connections belong to one thread
        times = stage.times(max(1, (10 if name in _OPENING else _TIMES[work]) // threads))
        contenders[name] = _contender(make, stage, way, work, threads, times)
    sql, redis_words = _WORDS[work]
    shown = f"{client.name}, {sql if client.module else redis_words}, {threads} thread{'s' * (threads > 1)}"
    return Case(shown, contenders, in_picture=threads == 1 and work == "INSERT")


#: Work -> how it is called with a database, and with Redis.
_WORDS = {"nothing": ("nothing", "nothing"), "SELECT 1": ("SELECT 1", "GET"), "INSERT": ("INSERT + commit", "RPUSH")}


TABLE = Table(
    name="tasks",
    title="A task, in one process",
    text="""
Tasks that do nothing, `SELECT 1`, or `INSERT` and commit; with Redis nothing, GET, or RPUSH. Every task that sends
something commits, the floor too, whose connection is a global of the thread: it survives no fork, no lost connection
and no error. CPU is that of this process alone. Round trips are counted over a proxy; each row that a task should have
written is counted. SQLAlchemy's pool is used by `engine.connect()`, its statements sent on the DB-API connection.
With eight threads a figure is the time through the number of all tasks.
""",
    columns=(
        Column("wall_us", "µs per task", 1),
        Column("cpu_us", "µs of CPU", 1),
        Column("trips", "round trips", 1),
    ),
    cases=cases,
    rounds=7,
)
