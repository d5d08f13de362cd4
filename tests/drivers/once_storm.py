"""
Deliver tasks again and again while real signals strike at random moments: each is done once.

Run as a program: URL, number of tasks, seed. It prints what came of it, and fails if a task was done twice or never.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections import Counter, deque
from typing import Any

import taskconn
from taskconn import _context, _ledger
from taskconn._context import TaskContext


class Limit(Exception):  # noqa: N818 -- a soft time limit, as task systems have it
    """Strikes anywhere."""


running: list[TaskContext] = []


def strike(*_: object) -> None:
    """Handle the signal."""
    raise Limit


def execute(db: Any, sql: str) -> Any:
    """Run a statement on a cursor."""
    cursor = db.cursor()
    cursor.execute(sql)
    return cursor


def main(url: str, tasks: int, seed: int) -> None:
    """Deliver each task until it succeeds, and once more; then look what is there."""
    _context.register(lambda: running[-1] if running else None, interrupts=(Limit,))
    registry = taskconn.Registry()
    handle = registry.add("default", url)
    with taskconn.lease(handle) as db:
        for statement in _ledger.statements(registry.pool("default").driver.dialect, "default"):
            execute(db, statement)
        execute(db, "CREATE TABLE done (n INT, what VARCHAR(10))")

    @taskconn.with_db(handle, once=True)
    def work(db: Any, n: int) -> list[int]:
        execute(db, f"INSERT INTO done VALUES ({n}, 'kept')")
        with contextlib.suppress(KeyError), taskconn.savepoint(handle):
            execute(db, f"INSERT INTO done VALUES ({n}, 'undone')")
            raise KeyError
        with taskconn.savepoint(handle):
            execute(db, f"INSERT INTO done VALUES ({n}, 'inside')")
        return [n]

    chance, ends = random.Random(seed), Counter[str]()
    signal.signal(signal.SIGALRM, strike)
    taken_s = deque((time_one(work, n) for n in range(tasks, tasks + 5)), maxlen=5)
    for n in range(tasks):
        longest_s = usual_s = min(taken_s)  # others use the machine, too: a moment ago it may have been slower
        started = time.perf_counter()
        while (ended := deliver(work, n, chance.uniform(usual_s / 20, longest_s))) != "returned":
            ends[ended] += 1
            longest_s *= 1.5  # a limit costs the connection, and opening one takes longer than the work
            started = time.perf_counter()
        taken_s.append(time.perf_counter() - started)
        ends["returned"] += 1
        assert deliver(work, n, 0) == "returned"
    with taskconn.lease(handle) as db:
        found = execute(db, f"SELECT n, what FROM done WHERE n < {tasks} ORDER BY n, what").fetchall()
    assert [tuple(row) for row in found] == [(n, what) for n in range(tasks) for what in ("inside", "kept")]
    assert set(ends) <= {"returned", "Limit"}, ends
    assert ends["Limit"] > tasks // 4, ends
    print("ENDED", dict(ends))


def time_one(work: Any, n: int) -> float:
    """Tell how long a task takes here, in seconds."""
    started = time.perf_counter()
    assert deliver(work, n, 0) == "returned"
    return time.perf_counter() - started


def deliver(work: Any, n: int, delay_s: float) -> str:
    """Make one attempt, struck after a while (0: never); gives its end."""
    running.append(TaskContext(object(), "storm", f"task-{n}", "work", entry=lambda: work))
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, delay_s)
            assert work(n) == [n]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception as error:
        if not isinstance(error, Limit):
            raise
        return "Limit"
    finally:
        running.clear()
    return "returned"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
