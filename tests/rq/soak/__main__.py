"""
Many jobs through warm workers, while jobs fail, time out, are stopped, and horses are killed; then all is counted.

``make soak``, or ``python -m tests.rq.soak --jobs 20000``. Each job leaves a note in Redis when it begins, which
nothing takes back, and a row in MariaDB, which its outcome decides. So it is known of every job how often it ran, in
which process, and what was committed. A stop is aimed at a job that runs; a kill at a horse, whatever it does.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable

from tests.rq.soak.plan import Plan
from tests.rq.soak.run import run


def main(words: Iterable[str] | None = None) -> int:
    """Run it, print the report; 1 if anything is wrong."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # servers and workers are left tidy
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    for name in ("jobs", "stops", "kills", "workers", "calm", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    plan = Plan(**vars(parser.parse_args(words)))
    report = run(plan)
    print(f"{plan}\n{report}")
    return int(bool(report.wrong))


if __name__ == "__main__":
    sys.exit(main())
