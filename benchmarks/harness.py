"""Rounds, medians and ratios: the contenders of a case take turns in one run: a busy machine is busy for all."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from .stage import Stage

__all__ = ["Case", "Column", "Contender", "Measure", "Table", "run_case", "run_table"]

#: Does one round of work, and gives its figures by the keys of the table's columns.
Measure = Callable[[], Mapping[str, float]]

#: Makes ready (opens connections, starts a worker), gives the measure, and ends what it has started.
Contender = Callable[[], AbstractContextManager[Measure]]


@dataclass(frozen=True)
class Column:
    """Name one figure: its key in what a measure gives, its heading with the unit, digits behind the point."""

    key: str
    heading: str
    digits: int = 1


@dataclass(frozen=True)
class Case:
    """
    Hold contenders that do the same work.

    Attributes:
        name: What they do: ``"PyMySQL, SELECT 1, 1 thread"``.
        contenders: Name -> contender. The first one is the floor that the others are compared with.
        in_picture: Is it drawn?
        rounds: How often each takes its turn, without a round to warm up; None is as the table says, with one.
    """

    name: str
    contenders: Mapping[str, Contender]
    in_picture: bool = True
    rounds: int | None = None


@dataclass(frozen=True)
class Table:
    """
    Say what is measured.

    Attributes:
        name: Word for the command line, and of its files.
        title: Heading.
        text: What is done, and how to read it; Markdown.
        columns: The figures; ratios and the picture are those of the first one.
        cases: Makes the cases, one after the other.
        rounds: How often each contender takes its turn.
        more_is_better: Is a higher figure better?
    """

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]
    cases: Callable[[Stage], Iterable[Case]]
    rounds: int = 7
    more_is_better: bool = False


@dataclass
class _Samples:
    """Keep one contender's figures, round by round."""

    figures: list[Mapping[str, float]] = field(default_factory=list)

    def median(self, key: str) -> float | None:
        values = [figures[key] for figures in self.figures if key in figures]
        return statistics.median(values) if values else None


def run_table(
    table: Table,
    stage: Stage,
    only: str = "",
    rounds: int | None = None,
    say: Callable[[str], object] = print,
    keep: Callable[[dict[str, Any]], object] | None = None,
) -> dict[str, Any]:
    """
    Run the cases of *table* whose name has *only* in it.

    Args:
        table: What to run.
        stage: Its servers.
        only: A part of the name of a case.
        rounds: So many instead of the table's own number.
        say: Is told what begins.
        keep: Is given what came out so far after each case: what fails later loses nothing.

    Returns:
        What `report` writes down.
    """
    rounds = 1 if stage.is_quick else rounds or table.rounds
    results = []
    for case in table.cases(stage):
        if only not in case.name:
            continue
        say(f"{table.name}: {case.name}")
        results.append(run_case(case, table.columns, rounds))
        if keep is not None:
            keep({"rounds": rounds, "cases": list(results)})
    return {"rounds": rounds, "cases": results}


def run_case(case: Case, columns: tuple[Column, ...], rounds: int) -> dict[str, Any]:
    """
    Run the contenders of *case* by turns.

    Returns:
        Its ``name``, ``in_picture``, and ``rows``: for each contender its ``name``, the medians of its ``figures`` by
        key, and its ``ratio``: the median of what it took in a round through what the floor took in the same round.
    """
    samples = {name: _Samples() for name in case.contenders}
    with ExitStack() as stack:
        measures = {name: stack.enter_context(contender()) for name, contender in case.contenders.items()}
        if case.rounds is None:
            for measure in measures.values():
                measure()  # opens, imports and fills caches
        order = list(measures)
        for _ in range(rounds if case.rounds is None else case.rounds):
            for name in order:
                gc.collect()
                samples[name].figures.append(measures[name]())
            order.append(order.pop(0))  # nobody always comes first
    floor = next(iter(samples.values()))
    rows = [
        {
            "name": name,
            "figures": {column.key: taken.median(column.key) for column in columns},
            "ratio": _ratio(taken, floor, columns[0].key),
        }
        for name, taken in samples.items()
    ]
    return {"name": case.name, "in_picture": case.in_picture, "rows": rows}


def _ratio(taken: _Samples, floor: _Samples, key: str) -> float | None:
    pairs = zip(taken.figures, floor.figures, strict=True)
    ratios = [own[key] / lowest[key] for own, lowest in pairs if key in own and lowest.get(key)]
    return statistics.median(ratios) if ratios else None
