"""Signals at random moments: `make fuzz` for the long run, `FUZZ_SEED=7` to repeat one; the table is printed last."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.outcomes.conftest import FIGURES
from tests.outcomes.places import Place
from tests.outcomes.shares import IS_FULL, SEED, every_driver, figures_of, report, share
from tests.outcomes.storm import FAULTS
from tests.support.process import Script


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
