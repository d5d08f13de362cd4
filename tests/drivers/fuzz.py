"""
Interrupt a driver with real signals at random moments, swallow the interrupt, and ask again on the same connection.

Run as ``python -m tests.drivers.fuzz ROW URL INTERRUPTS [SEED]``. Prints what happened, as one JSON object.
"""

from __future__ import annotations

import json
import random
import signal
import sys
from collections import Counter
from typing import Any

from taskconn._interrupts import add_interrupts, noting
from taskconn.driver import Driver
from taskconn.errors import TaintedConnectionError
from tests.drivers.rows import ROWS, Row, target_of
from tests.support.bolt import Bolt, Interrupt
from tests.support.stopwatch import Stopwatch

#: An answer that takes longer is a hang, in seconds.
_HANG_S = 3.0


_bolt = Bolt()


def fuzz(row: Row, driver: Driver[Any], url: str, interrupts: int, seed: int) -> Counter[str]:
    """Interrupt *interrupts* times, and count what came of it."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter(interrupts=0)
    target = target_of(url)
    connection = driver.open(target, 5)
    number = 0
    while counts["interrupts"] < interrupts:
        number += 1
        watch = Stopwatch()
        counts[_struck(row, connection, number, chance.uniform(5e-6, 400e-6))] += 1
        number += 1
        after = _asked_again(row, connection, number)
        counts[after] += 1
        counts["hangs"] += watch.seconds() > _HANG_S
        driver.restore(connection) if after == "right again" else None
        if after == "refused":
            driver.invalidate(connection)
            connection = driver.open(target, 5)
    driver.close(connection, 1)
    return counts


def _struck(row: Row, connection: Any, number: int, delay_s: float) -> str:
    """Ask, and be interrupted after *delay_s*."""
    try:
        _bolt.arm(delay_s)
        try:
            answer, right = row.ask(connection, number)
        finally:
            _bolt.disarm()
    except Interrupt:
        return "interrupts"
    except Exception as error:  # noqa: BLE001 -- the interrupt was masked, whatever by
        print(f"masked by {error!r}", file=sys.stderr)
        return "masked"
    return "uninterrupted" if answer == right else "wrong at once"


def _asked_again(row: Row, connection: Any, number: int) -> str:
    try:
        answer, right = row.ask(connection, number)
    except TaintedConnectionError:
        return "refused"
    return "right again" if answer == right else "wrong"


def main() -> None:
    """Read the command line."""
    name, url, interrupts, *seed = sys.argv[1:]
    add_interrupts((Interrupt,))  # as the task systems do with their limits
    signal.signal(signal.SIGALRM, noting(_bolt.strike))  # as the task systems' are
    row = ROWS[name]
    print(json.dumps(fuzz(row, row.driver(), url, int(interrupts), int(seed[0]) if seed else 0)))


if __name__ == "__main__":
    main()
