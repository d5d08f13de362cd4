"""What a lease itself costs: every pool on a driver that does nothing."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from celery import Celery

import taskconn
import taskconn.celery
from taskconn._shield import Shield
from taskconn.testing import FakeDriver

from ..harness import Case, Column, Contender, Measure, Table
from ..pools import POOLS, Once, count_calls
from ..stage import Stage


def _alone(make: Callable[[], AbstractContextManager[Once]], times: int) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        with make() as once:
            calls = count_calls(once)

            def measure() -> Mapping[str, float]:
                return {"ns": _time(once, times), "calls": calls}

            yield measure

    return contender


def together(make: Callable[[], AbstractContextManager[Once]], threads: int, times: int) -> Contender:
    """Measure *threads* threads that lease all the time: how long each lease took, seen by its thread."""

    @contextmanager
    def contender() -> Iterator[Measure]:
        with make() as once:

            def measure() -> Mapping[str, float]:
                taken: list[int] = []
                start = threading.Barrier(threads + 1)

                def work() -> None:
                    own = []
                    once()
                    start.wait()
                    for _ in range(times):
                        began = time.perf_counter_ns()
                        once()
                        own.append(time.perf_counter_ns() - began)
                    taken.extend(own)

                workers = [threading.Thread(target=work) for _ in range(threads)]
                for worker in workers:
                    worker.start()
                start.wait()
                began = time.process_time_ns()
                for worker in workers:
                    worker.join()
                whole = time.process_time_ns() - began
                assert len(taken) == threads * times
                return {
                    "ns": whole / (threads * times),
                    "p50": statistics.median(taken),
                    "p99": statistics.quantiles(taken, n=100)[98],
                }

            yield measure

    return contender


def _in_celery(times: int) -> Contender:
    """Measure `with_db` inside a task: the attempt that runs is asked for at each lease."""

    @contextmanager
    def contender() -> Iterator[Measure]:
        app = Celery("bench", broker="memory://", set_as_current=False)
        taskconn.celery.install(app)
        taskconn._registry.installed(app).add("default", FakeDriver())  # type: ignore[union-attr]

        @taskconn.with_db
        def once(db: Any) -> None: ...

        @app.task
        def task() -> tuple[float, int]:
            calls = count_calls(once)
            return _time(once, times), calls

        def measure() -> Mapping[str, float]:
            ns, calls = task.apply().get()
            return {"ns": ns, "calls": calls}

        yield measure

    return contender


def _shield(signals: tuple[int, ...], times: int) -> Contender:
    """Measure what keeps signals out of a COMMIT, where so many of them have handlers in Python."""

    @contextmanager
    def contender() -> Iterator[Measure]:
        def once() -> None:
            with Shield("bench"):
                pass

        def measure() -> Mapping[str, float]:
            kept = {number: signal.signal(number, signal.default_int_handler) for number in signals}
            try:
                return {"ns": _time(once, times), "calls": count_calls(once)}
            finally:
                for number, handler in kept.items():
                    signal.signal(number, handler)

        yield measure

    return contender


def _time(once: Once, times: int) -> float:
    """Give the nanoseconds of CPU of one *once*: the median of ten batches."""
    repeat = range(max(1, times // 10))
    taken = []
    for _ in range(10):
        started = time.thread_time_ns()
        for _ in repeat:
            once()
        taken.append((time.thread_time_ns() - started) / len(repeat))
    return statistics.median(taken)


def cases(stage: Stage) -> Iterator[Case]:
    """Give one thread, then eight; and the shield of a commit."""
    alone = {name: _alone(make, stage.times(20_000)) for name, make in POOLS.items()}
    alone["@taskconn.with_db in a Celery task"] = _in_celery(stage.times(20_000))
    yield Case("1 thread", alone)
    times = stage.times(2_000)
    yield Case("8 threads", {name: together(make, 8, times) for name, make in POOLS.items()})

    shields = {
        "one handler in Python, SIGINT": _shield((), stage.times(20_000)),
        "three, as in a child of Celery": _shield((signal.SIGTERM, signal.SIGUSR1), stage.times(20_000)),
    }
    yield Case("the shield of a COMMIT, which a lease without a statement has not", shields, in_picture=False)


TABLE = Table(
    name="fake",
    title="A lease, in and out, on a driver that does nothing",
    text="""
What the library itself takes to hand out a connection and to take it back: the driver is a fake that does nothing, and
no statement is sent. The first figure is CPU time. Calls are those of Python functions, without the fake's own. With
eight threads p50 and p99 are what a single lease took as its thread saw it, waiting for the GIL included. The fake has
no `ping`, which DBUtils would call otherwise; DBUtils' PersistentDB keeps one connection for each thread, and its
`close()` does nothing.
""",
    columns=(
        Column("ns", "ns of CPU per lease", 0),
        Column("calls", "Python calls", 0),
        Column("p50", "p50 ns", 0),
        Column("p99", "p99 ns", 0),
    ),
    cases=cases,
    rounds=9,
)
