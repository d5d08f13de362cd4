"""What becomes of the cost when there is more of everything: aliases, threads, processes."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import taskconn
from taskconn.testing import FakeDriver

from ..harness import Case, Column, Contender, Measure, Table
from ..pools import taskconn_lease
from ..programs.talk import talk_to
from ..stage import Stage
from .fake import together


def _aliases(number: int, times: int) -> Contender:
    """Measure leases that go through *number* aliases by their names, one after the other."""
    names = [f"growth-{number}-{index}" for index in range(number)]

    def lease(name: str) -> None:
        with taskconn.lease(name):
            pass

    def add(name: str) -> None:
        taskconn._registry.process_registry.add(name, FakeDriver())
        lease(name)

    return _in_rotation(names, add, lease, times)


class _Pool:
    """Hold what any pool has at the least: something idle, which notes who took it, and when."""

    def __init__(self) -> None:
        self.idle = deque([_Idle()])


class _Idle:
    def __init__(self) -> None:
        self.taken_at, self.holder = 0.0, ""


def _bare(number: int, times: int) -> Contender:
    """Measure the same of a dictionary of *number* such pools: how memory that is seldom used slows down all of it."""
    names = [f"growth-{number}-{index}" for index in range(number)]
    pools: dict[str, _Pool] = {}

    def add(name: str) -> None:
        pools[name] = _Pool()

    def take(name: str) -> None:
        idle = pools[name].idle.pop()
        idle.taken_at, idle.holder = time.monotonic(), "bench"
        pools[name].idle.append(idle)

    return _in_rotation(names, add, take, times)


def _in_rotation(
    names: list[str], add: Callable[[str], object], once: Callable[[str], object], times: int
) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        for name in names:
            add(name)

        def measure() -> Mapping[str, float]:
            started = time.thread_time_ns()
            for name in itertools.islice(itertools.cycle(names), times):
                once(name)
            return {"us": (time.thread_time_ns() - started) / times / 1e3}

        yield measure

    return contender


def _threads(number: int, times: int) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        with together(taskconn_lease, number, max(1, times // number))() as measure_ns:
            yield lambda: {f"{key}_us".replace("ns_us", "us"): value / 1e3 for key, value in measure_ns().items()}

    return contender


def _fleet(by: str, url: str, processes: int) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        with talk_to("fleet", by, url, str(processes)) as ask:

            def measure() -> Mapping[str, float]:
                figures = ask()
                return {
                    "us": figures["whole_s"] * 1e6 / processes,
                    "p50_us": figures["p50_ms"] * 1e3,
                    "p99_us": figures["p99_ms"] * 1e3,
                }

            yield measure

    return contender


def cases(stage: Stage) -> Iterator[Case]:
    """Give aliases, threads, and a fleet of processes."""
    times = stage.times(20_000)
    shown = {f"{number:,} alias{'es' * (number > 1)}": _aliases(number, times) for number in (1, 100, 1_000)}
    yield Case("a lease by name, fake driver", shown)
    bare = {f"{number:,} pool{'s' * (number > 1)}": _bare(number, times) for number in (1, 100, 1_000)}
    yield Case("the floor of that: a dictionary of bare pools", bare, in_picture=False)
    threads = {f"{number} thread{'s' * (number > 1)}": _threads(number, times) for number in (1, 4, 16, 64)}
    yield Case("a lease, fake driver", threads)
    processes = 5 if stage.is_quick else 300
    postgresql = f"{stage.postgresql.url('bench')}?sslmode=disable"
    for name, url in (("PyMySQL", stage.mariadb.url()), ("psycopg", postgresql)):
        ways = {"the library's own": partial(_fleet, "nothing"), "taskconn": partial(_fleet, "taskconn")}
        contenders = {way: make(url, processes) for way, make in ways.items()}
        yield Case(f"{processes} processes that open at once, {name}", contenders, in_picture=False, rounds=2)


TABLE = Table(
    name="growth",
    title="More aliases, threads, processes",
    text="""
The first case are leases of aliases that take turns, on a driver that does nothing; the figure is CPU time. Each makes
the same calls among 1,000 aliases as among one (`tests/speed` counts them): what grows is the time that memory takes
which others have pushed out of the processor's cache, and the second case shows that of a dictionary of pools that do
nothing but pop and append. In the third p50 and p99 are what a single lease took as its thread saw it. Then forked
processes open a connection each, all at the same moment: the figure is the time until the last one has it, through
their number; p50 and p99 are what one process waited.
""",
    columns=(Column("us", "µs", 2), Column("p50_us", "p50 µs", 2), Column("p99_us", "p99 µs", 2)),
    cases=cases,
    rounds=5,
)
