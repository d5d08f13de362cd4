"""
Interrupt a driver at every point of what a task does with it: wherever Python hears signals, one point after the other.

Run as ``python -m tests.drivers.sweep ROW URL [--passages ask0,write] [--points N]``. Each passage is run once to find
its points: a place in the code, with the calls that lead to it. Then it is run again for each of them, and a real
signal strikes there. Prints what came of it as one JSON object; what breaks the promise is listed with its place.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys

from taskconn._interrupts import add_interrupts, noting
from tests.drivers.sweep.bolt import Interrupt
from tests.drivers.sweep.judge import Sweep
from tests.drivers.sweep.passages import PASSAGES, passages_of
from tests.drivers.sweep_rows import SWEPT


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row")
    parser.add_argument("url")
    parser.add_argument("--passages")
    parser.add_argument("--points", type=int)
    given = parser.parse_args()
    logging.getLogger("taskconn").setLevel(logging.ERROR)
    add_interrupts((Interrupt,))  # as the task systems do with their limits
    row = SWEPT[given.row]
    sweep = Sweep(row, given.url)
    signal.signal(signal.SIGUSR1, noting(sweep.bolt.raise_interrupt))
    sys.unraisablehook = sweep.bolt.lose
    gc.disable()  # a collection would come at another point each time
    for name in given.passages.split(",") if given.passages else passages_of(row):
        sweep.run(name, PASSAGES[name], given.points)
        gc.collect()
    print(json.dumps({"counts": sweep.counts, "findings": sweep.findings, "late": sweep.late}), flush=True)
    os._exit(0)  # what interrupted constructors have left is not worth its complaints


if __name__ == "__main__":
    main()
