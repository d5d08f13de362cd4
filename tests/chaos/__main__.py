"""`python -m tests.chaos`: many runs and their control, one after the other, as a table in docs/chaos.md."""

from __future__ import annotations

import argparse
import platform
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.chaos.run import FEW_DESCRIPTORS, Verdict, run
from tests.chaos.stage import impossible
from tests.chaos.systems import SYSTEMS

#: Seeds, transfers and seconds of faults of each run.
_SEEDS = 28
_TRANSFERS = 150
_FAULTS_S = 25.0

#: Runs of the control: with a connection by hand, over the same seeds.
_CONTROLS = 3

_SERVERS = ("mysql", "postgresql")

_HEAD = """# The chaos suite's last run

Written by `make chaos`: do not edit. [reliability.md](reliability.md) says what is promised, and `tests/chaos/` how it is tested.

In each run a worker does transfers between accounts while servers, networks, processes and clocks fail. Whatever ends
failed, or is not answered, is sent again under the same id. At the end every transfer has to be there exactly once, and
every balance to be right.

{date}, {system}, Python {python}, Celery {celery}, RQ {rq}. {runs} runs, {transfers} transfers in {executed} executions,
{faults} faults: lost {lost}, doubled {doubled}, wrong balances {wrong}.

{table}

The control is the connection that is written by hand, a global with a ping, over the same seeds; in its last run one child
is killed between its commit and its answer, and nothing else fails.

{control}

| fault | times |
|---|---|
{fault_rows}

| error that an attempt ended with | times |
|---|---|
{failure_rows}

Not possible on the machine of this run: {impossible}.
"""  # noqa: E501 -- a line of Markdown

_COLUMNS = (
    *("worker", "server", "seed", "transfers", "executions", "faults"),
    *("lost", "doubled", "wrong balances", "sessions left", "most descriptors", "slowest transfer, s", "s"),
)


def main(words: list[str]) -> int:
    """Run it; 0 if every run with taskconn was sound, and the control was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="runs with taskconn (default: %(default)s)")
    parser.add_argument("--write", type=Path, help="file that gets the table")
    arguments = parser.parse_args(words)

    verdicts = list(_told(_runs(arguments.seeds)))
    controls = list(_told(_controls()))
    page = _page(verdicts, controls)
    print(page)
    if arguments.write:
        arguments.write.write_text(page)
    are_sound = all(
        verdict.is_sound and not verdict.left and not verdict.nameless and verdict.descriptors < FEW_DESCRIPTORS
        for verdict in verdicts
    )
    are_all = len(verdicts) == arguments.seeds and len(controls) == _CONTROLS + 1
    return 0 if are_all and are_sound and not all(control.is_sound for control in controls) else 1


def _runs(seeds: int) -> Iterator[Verdict]:
    for seed in range(1, seeds + 1):
        system = list(SYSTEMS)[seed % len(SYSTEMS)]
        server = _SERVERS[seed // len(SYSTEMS) % 2]
        yield from _judged(system, server, seed, number=_TRANSFERS, faults_s=_FAULTS_S)


def _controls() -> Iterator[Verdict]:
    for seed in range(1, _CONTROLS + 1):
        yield from _judged("celery prefork", "mysql", seed, number=_TRANSFERS, faults_s=_FAULTS_S, by_hand=True)
    yield from _judged("celery prefork", "mysql", 0, number=4, faults_s=0.0, by_hand=True, dies="0-2")


def _judged(system: str, server: str, seed: int, **arguments: Any) -> Iterator[Verdict]:
    """Run one; what breaks before its verdict is shown, and counts against the whole: the other runs go on."""
    try:
        yield run(system, server, seed, **arguments)
    except Exception:  # noqa: BLE001 -- of any part of it, servers included
        print(f"no verdict: {system}, {server}, seed {seed}\n{traceback.format_exc()}", flush=True)


def _told(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    for verdict in verdicts:
        print(_row(verdict), flush=True)
        if not verdict.is_sound or verdict.nameless:
            print(
                f"  lost {verdict.lost} doubled {verdict.doubled} wrong {verdict.wrong} {verdict.nameless}", flush=True
            )
        yield verdict


def _page(verdicts: list[Verdict], controls: list[Verdict]) -> str:
    faults: Counter[str] = sum((verdict.faults for verdict in verdicts), Counter())
    failures: Counter[str] = sum((verdict.failures for verdict in verdicts), Counter())
    return _HEAD.format(
        date=f"{datetime.now(timezone.utc):%Y-%m-%d}",
        system=platform.system(),
        python=platform.python_version(),
        celery=version("celery"),
        rq=version("rq"),
        runs=len(verdicts),
        transfers=sum(verdict.transfers for verdict in verdicts),
        executed=sum(verdict.executed for verdict in verdicts),
        faults=faults.total(),
        lost=sum(len(verdict.lost) for verdict in verdicts),
        doubled=sum(len(verdict.doubled) for verdict in verdicts),
        wrong=sum(len(verdict.wrong) for verdict in verdicts),
        table=_table(verdicts),
        control=_table(controls),
        fault_rows="\n".join(f"| `{name}` | {times} |" for name, times in faults.most_common()),
        failure_rows="\n".join(f"| `{name}` | {times} |" for name, times in failures.most_common()),
        impossible=", ".join(f"`{fault}` ({reason})" for fault, reason in impossible().items()) or "nothing",
    )


def _table(verdicts: list[Verdict]) -> str:
    head = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    return "\n".join([*head, *map(_row, verdicts)])


def _row(verdict: Verdict) -> str:
    cells = (
        *(verdict.system, verdict.database, verdict.seed, verdict.transfers, verdict.executed, verdict.faults.total()),
        *(len(verdict.lost), len(verdict.doubled), len(verdict.wrong), verdict.left),
        *(verdict.descriptors, round(verdict.slowest_s, 1), round(verdict.took_s)),
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
