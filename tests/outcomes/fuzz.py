"""
Interrupt a driver with real signals at random moments of random statements, fetches, commits and rollbacks.

Run as ``python -m tests.outcomes.fuzz ROW URL INTERRUPTS SEED``. Prints what happened, as JSON behind the word COUNTS.
With ``plain`` in the row's place it is the control: PyMySQL with a global connection, as many write it.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pymysql

from taskconn._interrupts import add_interrupts, noting
from taskconn._registry import Registry
from taskconn.driver import Driver
from tests.drivers.rows import ROWS, target_of
from tests.outcomes.storm import Ignored, Storm, leased, verdict
from tests.support.bolt import Bolt, Interrupt

#: A unit of work that takes longer is a hang, in seconds; one that takes the other is ended, with its stack shown.
_HANG_S, _END_S = 10.0, 60.0

#: Share of units that no signal strikes, to see how long one takes.
_MEASURED = 0.1


class LoggedBolt(Bolt, logging.Handler):
    """
    Strike once, and know it; also where a shield has dropped the signal, which it logs.

    Attributes:
        was_dropped: Has a shield dropped it?
    """

    was_dropped = False

    def arm(self, delay_s: float) -> None:
        """Strike after *delay_s*."""
        self.was_dropped = False
        super().arm(delay_s)

    def emit(self, record: logging.LogRecord) -> None:
        """Hear that a shield dropped it."""
        if "came during a COMMIT that succeeded" in record.getMessage():
            self.has_struck = self.was_dropped = True


_bolt = LoggedBolt()
_ignored = Ignored()


def fuzz(storm: Storm, interrupts: int, seed: int) -> Counter[str]:
    """Interrupt *interrupts* times, and count what came of it."""
    counts = storm.counts
    counts.update(interrupts=0)
    usual_s: dict[str, float] = {}  # what a unit of each kind takes, so that signals spread over all of it
    chance = random.Random(seed)
    while counts["interrupts"] < interrupts:
        kind, do = storm.choose()
        faulthandler.dump_traceback_later(_END_S, exit=True)
        started, ignored = time.monotonic(), _ignored.count
        is_measured = kind not in usual_s or chance.random() < _MEASURED
        ended = do() if is_measured else _struck(do, chance.random() * 1.2 * usual_s[kind])
        elapsed_s = time.monotonic() - started
        counts["hangs"] += elapsed_s > _HANG_S
        if is_measured:
            usual_s[kind] = usual_s.get(kind, elapsed_s) * 0.8 + elapsed_s * 0.2
            ended = "errors" if ended == "failed" else ended
        else:
            ended = _named(ended, ignored)
        counts[ended] += 1
        counts[f"in {kind}"] += ended == "interrupts"
        if storm.probe() != "done":
            counts["errors"] += 1
    faulthandler.cancel_dump_traceback_later()
    return counts


def _named(ended: str, ignored: int) -> str:
    """Name the end of a unit at which a signal was sent."""
    if ended == "failed":
        return "masked" if _bolt.has_struck else "errors"
    if ended == "done" and _bolt.has_struck:
        return "dropped in COMMIT" if _bolt.was_dropped else "unheard" if _ignored.count > ignored else "swallowed"
    return ended


def _struck(do: Callable[[], str], delay_s: float) -> str:
    """Do a unit of work, and be interrupted after *delay_s*."""
    try:
        _bolt.arm(max(delay_s, 5e-6))
        try:
            return do()
        finally:
            _bolt.disarm()
    except Interrupt:
        return "interrupts"


def plain(url: str) -> Callable[..., Any]:
    """Lease as programs do that have no taskconn: a global connection, committed or rolled back."""
    target = target_of(url)
    connection = pymysql.connect(
        host=target.host or "",
        port=target.port or 0,
        user=target.user,
        password=target.password or "",
        database=target.database,
        read_timeout=0.2,
    )

    def lease(function: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*args: Any) -> None:
            connection.ping(reconnect=True)  # type: ignore[no-untyped-call]
            try:
                function(connection, *args)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

        return wrapper

    return lease


def main() -> None:
    """Read the command line."""
    name, url, interrupts, seed = sys.argv[1:]
    add_interrupts((Interrupt,))  # as the task systems do with their limits
    signal.signal(signal.SIGALRM, noting(_bolt.strike))
    _ignored.watch(signal.SIGALRM)
    logger = logging.getLogger("taskconn")
    logger.addHandler(_bolt)
    logger.propagate = False
    is_control = name == "plain"
    row = ROWS["pymysql" if is_control else name]
    registry = Registry()
    pool = registry.add("default", url)
    driver: Driver[Any] = row.driver()
    outside = driver.open(target_of(url), 5)
    row.prepare(outside)
    driver.commit(outside, 5)
    lease = plain(url) if is_control else leased(pool)
    storm = Storm(row.name, lease, int(seed), f"direct-{seed}", (Interrupt,))
    counts = fuzz(storm, int(interrupts), int(seed))
    if not is_control:
        counts["opens"] = registry.pool("default").stats()["opens"]
    driver.rollback(outside, 5)
    counts += verdict(storm.expected, row.values(outside))
    driver.close(outside, 1)
    registry.close()
    print(f"\nCOUNTS {json.dumps(counts)}", flush=True)


if __name__ == "__main__":
    main()
