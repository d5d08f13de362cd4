"""Run tables: ``python -m benchmarks``, or ``python -m benchmarks fake opening --quick``."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from contextlib import ExitStack

from . import report
from .harness import run_table
from .stage import Stage
from .tables import load, names


def main(words: list[str]) -> int:
    """Run the tables that *words* name, all if they name none."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("tables", nargs="*", help=f"some of: {', '.join(names())}")
    parser.add_argument(
        "--quick", action="store_true", help="tiny rounds, to see that everything runs; nothing is written"
    )
    parser.add_argument("--case", default="", help="run cases with this in their name, and print them; see --keep")
    parser.add_argument("--keep", action="store_true", help="with --case: write these cases, and leave the others")
    parser.add_argument("--rounds", type=int, help="so many instead of the table's own number")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.tables) - set(names()):
        parser.error(f"there is no table {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    described = report.machine()
    for name in arguments.tables or names():
        started = time.monotonic()
        table = load(name)
        writes = not arguments.quick and (arguments.keep or not arguments.case)
        keep = functools.partial(report.write, table, described=described) if writes else None
        with ExitStack() as stack:
            stage = Stage(stack, is_quick=arguments.quick)
            outcome = run_table(table, stage, arguments.case, arguments.rounds, keep=keep)
        print(f"{name}: {time.monotonic() - started:.0f} s")
        if arguments.case:
            print(report.section(report.record(table, outcome, described)))
        if not writes:
            continue
        report.write(table, outcome, described, is_whole=not arguments.case)
        print(report.write_page([load(one) for one in names()]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
