"""How many interrupts each driver gets, and the table of what came of them: `FUZZ=full`, `FUZZ_SEED=7`."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drivers.rows import ROWS
from tests.outcomes.conftest import FIGURES
from tests.outcomes.places import Place
from tests.outcomes.storm import FAULTS, verdict

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


def read_book(path: Path, place: Place, prefix: str) -> Counter[str]:
    """Add up what tasks have written down, and compare it with what is in the database."""
    counts: Counter[str] = Counter()
    expected: dict[str, str] = {}
    for line in path.read_text().splitlines():
        page = json.loads(line)
        if page["task"].startswith(prefix):
            counts.update(page["counts"])
            expected.update(page["expected"])
    return counts + verdict(expected, place.values(prefix))
