"""Tasks that are done once although they are delivered again, by a real worker whose children are killed."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskconn import _ledger
from tests.support.databases import MySQLDatabase

#: Tasks that are done once, and of the control; children that are killed at random moments.
TASKS, CONTROLS, KILLS = (500, 100, 25) if os.environ.get("FUZZ") == "full" else (60, 20, 3)


@pytest.fixture(scope="module")
def ledger_database(database: MySQLDatabase) -> MySQLDatabase:
    """Give the database of this file, with the ledger and counters."""
    for statement in _ledger.statements("mysql", "default"):
        database.query(statement)
    database.query("CREATE TABLE counter (name VARCHAR(10) PRIMARY KEY, value INT NOT NULL)")
    database.query("CREATE TABLE counted (name VARCHAR(10), n INT)")
    database.query("INSERT INTO counter VALUES ('once', 0), ('plain', 0)")
    return database


@pytest.fixture(scope="module")
def worker(start_shared_worker: Callable[..., Any], ledger_database: MySQLDatabase) -> Any:
    """Give a prefork worker with two children."""
    return start_shared_worker(ledger_database, "-c", "2")


def test_delivery_at_the_same_time_waits_and_skips(worker: Any) -> None:
    """Of two deliveries that run at once, the second waits for the first one's commit, and has its result."""
    for _ in range(2):
        worker.send("put_once", 1, 1.0, task_id="the-same")
    pattern = r"\[the-same\] succeeded in ([\d.]+)s: (\d+)"
    worker.script.wait_for(pattern, 60, count=2)

    (first_s, first), (second_s, second) = re.findall(pattern, worker.script.output)
    assert first == second
    assert min(float(first_s), float(second_s)) > 0.5
    assert worker.script.output.count("SAY putting 1") == 1
    assert [visit[0] for visit in worker.visits() if visit[0] == 1] == [1]
    assert worker.database.query("SELECT task_name, task_key, repeats FROM taskconn_ledger WHERE repeats > 0") == [
        ("tests.celery.project.put_once", "celery:the-same:0", 1)
    ]


def test_later_delivery_skips(worker: Any) -> None:
    """A delivery that comes when the first one has ended does nothing, and succeeds with its result."""
    for _ in range(2):
        worker.send("put_once", 2, task_id="again")
    worker.script.wait_for(r"\[again\] succeeded", 60, count=2)

    assert worker.script.output.count("SAY putting 2") == 1


def test_retry_runs(worker: Any) -> None:
    """`self.retry` keeps the id, and its attempt is made: the first one was rolled back."""
    task_id = worker.send("put_at_second_try", 3)
    worker.script.wait_for(rf"\[{task_id}\] succeeded in [\d.]+s: 3", 60)

    assert [visit[0] for visit in worker.visits() if visit[0] == 3] == [3]


def test_replacement_runs(worker: Any) -> None:
    """`self.replace` keeps the id, and the replacements are done, each as an execution of its own."""
    task_id = worker.send("put_and_replace", 10)
    worker.script.wait_for(rf"\[{task_id}\] succeeded in [\d.]+s: 12", 60)

    assert [visit[0] for visit in worker.visits() if 10 <= visit[0] <= 12] == [12]
    entries = worker.database.query("SELECT task_key FROM taskconn_ledger WHERE task_key LIKE %s", f"%{task_id}%")
    assert entries == [(f"celery:{task_id}:2",)]


def test_part_of_another_task_is_refused(worker: Any) -> None:
    """A task that calls another one's function directly has no id for it."""
    assert worker.run("put_by_helper", 5) == "raised"

    worker.script.wait_for(r"OnceRefusedError: tests\.celery\.project\.put_once\(\) can't be done once")
    assert [visit for visit in worker.visits() if visit[0] == 5] == []


@pytest.mark.timeout(900)
def test_counter_is_exact_although_children_are_killed(
    start_worker: Callable[..., Any], ledger_database: MySQLDatabase, tmp_path: Path
) -> None:
    """
    Each task counts once, whatever kills its child: at random, and between commit and acknowledgement.

    The control has the same deaths without `once`, and counts more than there are tasks.
    """
    worker = start_worker(
        ledger_database,
        "-c",
        "4",
        environ={"PROJECT_FOLDER": str(tmp_path)},
        settings={"task_reject_on_worker_lost": True, "task_acks_late": True},
    )
    chance = random.Random(4)
    ids = [worker.send("count_once", n) for n in range(TASKS)]
    control = [worker.send("count_plainly", n) for n in range(CONTROLS)]

    for _ in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.5))  # a random moment is what is tested
        _kill_a_child(worker, chance)
    missing = {*ids, *control}
    ends_at = time.monotonic() + (600 if TASKS > 100 else 90)
    while missing:
        assert time.monotonic() < ends_at, f"{len(missing)} missing: {worker.script.output[-5000:]}"
        missing -= set(re.findall(r"\[([0-9a-f-]{36})\] succeeded", worker.script.output))
        time.sleep(0.1)

    counters = dict(ledger_database.query("SELECT name, value FROM counter"))
    assert counters["once"] == TASKS
    once = ledger_database.query("SELECT n FROM counted WHERE name = 'once' ORDER BY n")
    assert once == [(n,) for n in range(TASKS)]
    assert counters["plain"] >= CONTROLS + CONTROLS // 10
    repeats = ledger_database.query("SELECT SUM(repeats) FROM taskconn_ledger WHERE task_name LIKE '%count_once'")
    assert repeats[0][0] >= TASKS // 10
    print("counted", counters, "skipped", repeats[0][0], "killed", KILLS, "at random, of", TASKS, CONTROLS)


def _kill_a_child(worker: Any, chance: random.Random) -> None:
    """Kill one of the children that have been started so far, whatever it does, and wait for the next one."""
    started = re.findall(r"SAY child (\d+)", worker.script.output)
    for pid in chance.sample(started, len(started)):
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
            return
