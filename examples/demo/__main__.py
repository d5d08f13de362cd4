"""Run the demo: ``python -m examples.demo [--tasks N] [--report FILE]``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console

from examples.servers import ServerMissingError

from . import report, screen
from .stage import SYSTEMS, DemoError, Stage


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    Returns:
        0 if the proof holds; 1 if it does not, or the run failed; 2 for a server that is missing.
    """
    options = _read(arguments)
    console = screen.make_console()
    try:
        return _run(console, options)
    except DemoError as error:
        console.print(f"The demo failed: {error}", markup=False)
        return 1
    except ServerMissingError as error:
        console.print(str(error), markup=False)
        return 2


def _run(console: Console, options: argparse.Namespace) -> int:
    began = time.monotonic()
    with ExitStack() as stack:
        stage = Stage(options.tasks, stack)
        database = stage.start(options.database)
        console.print(
            f"{options.tasks:,} tasks for each of {', '.join(SYSTEMS)}: each task puts a car into {database.name}.\n"
            "Each parent has used a connection before it forks. One child of each is killed on the way."
        )
        with screen.progress(console, SYSTEMS, options.tasks) as show:
            stage.play(database, show)
        claims = stage.prove(database)
        source = database.name
    console.print(screen.process_table(console, stage.history, SYSTEMS))
    console.print(screen.proof_table(console, claims, source))
    if not database.has_sessions:
        console.print("SQLite has no server, and so no sessions that two processes could share.")
    if options.report:
        report.write(options.report, stage.history, SYSTEMS, claims, source)
        console.print(f"The report is in {options.report}", markup=False)
    holds = all(claim.holds for claim in claims)
    console.print(f"The proof {'holds' if holds else 'DOES NOT HOLD'}. This took {time.monotonic() - began:.0f} s.")
    return 0 if holds else 1


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--tasks", type=_number, default=1000, metavar="N", help="tasks for each system (%(default)s)")
    parser.add_argument(
        "--database",
        choices=("auto", "mariadb", "sqlite"),
        default="auto",
        help="where the cars go; auto: MariaDB where it is installed, else SQLite (%(default)s)",
    )
    parser.add_argument(
        "--report", type=_report_path, metavar="FILE", help="write a picture too: FILE.html or FILE.svg"
    )
    return parser.parse_args(arguments)


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number


def _report_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in report.ENDINGS:
        raise argparse.ArgumentTypeError(f"a report ends in {' or '.join(report.ENDINGS)}")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.resolve().parent}")
    return path


def _end(signal_number: int, _frame: FrameType | None) -> None:
    """End by way of the cleaning up, which is not to be interrupted in its turn."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + signal_number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    sys.exit(main())
