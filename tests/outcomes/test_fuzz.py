"""Signals at random moments: `FUZZ=full` for the long run, `FUZZ_SEED=7` to repeat one; the table is printed last."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.drivers.rows import ROWS
from tests.outcomes.conftest import FIGURES
from tests.outcomes.places import Place
from tests.outcomes.storm import FAULTS
from tests.support.process import Script

IS_FULL = os.environ.get("FUZZ") == "full"

#: Drivers that Celery's and RQ's users have most of; their share is larger.
MOST_USED = ("pymysql", "redis")

#: All of a run's randomness comes of it.
SEED = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(10**6))

every_driver = pytest.mark.parametrize("name", ROWS)


def share(name: str, *, most_used: int, others: int, full: tuple[int, int]) -> int:
    """Say how many interrupts a driver gets."""
    few = name not in MOST_USED
    return full[few] if IS_FULL else (most_used, others)[few]


def figures_of(name: str, by: str, counts: Counter[str]) -> dict[str, object]:
    """Give a row of the table."""
    columns = ("interrupts", "answers", "committed", "refused", "opens", *FAULTS)
    return {"driver": name, "by": by, "seed": SEED, **{column: counts[column] for column in columns}}


def report(record: Callable[[str, object], None], name: str, by: str, counts: Counter[str]) -> None:
    """Leave the figures for the table, and fail if there is a fault among them."""
    record(FIGURES, figures_of(name, by, counts))
    assert {fault: counts[fault] for fault in FAULTS if counts[fault]} == {}, f"FUZZ_SEED={SEED}: {dict(counts)}"


@pytest.mark.timeout(1800 if IS_FULL else 240)
@every_driver
def test_signal_at_any_moment(
    name: str, places: dict[str, Place], script: Callable[..., Script], record_property: Callable[[str, object], None]
) -> None:
    """No answer is wrong, no transaction half done, no interrupt turned into another error, and nothing hangs."""
    number = share(name, most_used=230, others=35, full=(4930, 930))

    counts = strike(script, name, places[name].url, number)

    assert counts["interrupts"] >= number
    report(record_property, name, "timer", counts)


def test_control_of_plain_pymysql_fails(
    places: dict[str, Place], script: Callable[..., Script], record_property: Callable[[str, object], None]
) -> None:
    """The same signals break a global PyMySQL connection that is committed or rolled back: the fuzz can bite."""
    counts = strike(script, "plain", places["pymysql"].url, 40)

    record_property(FIGURES, figures_of("plain pymysql", "timer", counts))
    assert sum(counts[fault] for fault in FAULTS) > 0


def strike(script: Callable[..., Script], name: str, url: str, number: int) -> Counter[str]:
    """Run `fuzz.py`, and read its counts."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.outcomes.fuzz", name, url, str(number), str(SEED)]
    run = script(words)
    counts = Counter(json.loads(run.wait_for(r"^COUNTS (.*)$", 1700 if IS_FULL else 200)[1]))
    run.succeed()
    return counts
