"""The table of outcomes: a case is sent for every driver at once, and read back from the database."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.drivers.rows import ROWS
from tests.outcomes.told import Told


@dataclass(frozen=True)
class Case:
    """
    One row of the table.

    Attributes:
        way: What the task does, in `ways.py`, `app.py` or `jobs.py`.
        rows: Attempts whose row is in the database afterwards.
        state: The task system's, and the error's name.
        said: Which callbacks run, and what else is said.
        options: Of the message: limits.
        elsewhere: Drivers with which it ends in another way, and how.
    """

    way: str
    rows: list[int]
    state: str
    said: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_struck(self) -> bool:
        """Tell whether something is done to the task once it is in its transaction."""
        return False


def each_case(cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    """Run a test for each case, as its fixture `batch`, which is made once."""
    return pytest.mark.parametrize("batch", cases.values(), ids=cases, indirect=True, scope="module")


_counter = itertools.count()


class Batch:
    """One case, sent for every driver at once, so that they wait for their limits side by side."""

    def __init__(self, case: Any, worker: Told) -> None:
        self.case = case
        self.worker = worker
        self._sent: dict[str, tuple[str, Any]] = {}
        self._problems: dict[str, AssertionError] = {}
        for name in ROWS:
            key = f"{case.way}-{name}-{next(_counter)}"
            self._sent[name] = key, self.send(name, key)
        if case.is_struck:
            for name in ROWS:
                self._strike_when_ready(name)

    def check(self, name: str) -> None:
        """Wait for the end of one driver's task, and compare."""
        if name in self._problems:
            raise self._problems[name]
        case, (key, sent) = self.case.elsewhere.get(name, self.case), self._sent[name]
        for words in set(case.said):
            self.worker.wait_for(words, key, count=case.said.count(words))
        state = self.state(sent, case)
        rows = [int(value.rpartition(" ")[2]) for value in self.worker.places[name].values(f"{key} ")]
        kept = case.rows if ROWS[name].driver.transactional else sorted({*case.rows, 0})
        # Of the two runs of a retry or a replacement the order is not given; of a child that ends, how far it gets.
        said = sorted(words for words in self.worker.said(key) if words not in ("ran None", "in-transaction"))
        found, right = (rows, state, said), (kept, case.state, sorted(case.said))
        assert found == right, (found, right)

    def send(self, name: str, key: str) -> Any:
        """Send the case for one driver."""
        raise NotImplementedError

    def strike(self, sent: Any) -> None:
        """Do to a task, which is in its transaction, what the case says."""
        raise NotImplementedError

    def state(self, sent: Any, case: Any) -> str:
        """Wait for a task's end; give its state, and its error's name."""
        raise NotImplementedError

    def _strike_when_ready(self, name: str) -> None:
        key, sent = self._sent[name]
        try:
            self.worker.wait_for("in-transaction", key)
        except AssertionError as problem:
            self._problems[name] = problem
        else:
            self.strike(sent)
