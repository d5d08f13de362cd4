"""The table of outcomes under Celery: a case is sent for every driver at once, and read back from the database."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery.result import AsyncResult

from tests.drivers.rows import ROWS
from tests.outcomes.celery_worker import CeleryWorker

#: What is said of a task that returns.
COMMITTED = ["after_commit", "on_success", "ran SUCCESS"]


@dataclass(frozen=True)
class Case:
    """
    One row of the table.

    Attributes:
        way: What the task does, in `app.py`.
        rows: Attempts whose row is in the database afterwards.
        state: Celery's, and the error's name.
        said: Which callbacks run, and how each run ended.
        options: Of the message: limits.
        revoked_by: Signal of a revoke, once the task is in its transaction.
        overwritten: The state that Celery may store as well, before or after that of the run.
        elsewhere: Drivers with which it ends in another way, and how.
    """

    way: str
    rows: list[int]
    state: str
    said: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    revoked_by: str = ""
    overwritten: str = ""
    elsewhere: Mapping[str, Case] = field(default_factory=dict)


_counter = itertools.count()


class Batch:
    """One case, sent for every driver at once, so that they wait for their limits side by side."""

    def __init__(self, case: Case, worker: CeleryWorker) -> None:
        self.case = case
        self.worker = worker
        self._sent: dict[str, tuple[str, AsyncResult[Any]]] = {}
        self._problems: dict[str, AssertionError] = {}
        for name in ROWS:
            key = f"{case.way}-{name}-{next(_counter)}"
            self._sent[name] = key, worker.send(case.way, name, key, **case.options)
        if case.revoked_by:
            for name in ROWS:
                self._revoke(name)

    def check(self, name: str) -> None:
        """Wait for the end of one driver's task, and compare."""
        if name in self._problems:
            raise self._problems[name]
        case, (key, result) = self.case.elsewhere.get(name, self.case), self._sent[name]
        for words in set(case.said):
            self.worker.wait_for(words, key, count=case.said.count(words))
        # Where Celery stores two states in no order, those that the runs themselves have told count.
        state = self.worker.state(result, case.state, *filter(None, [case.overwritten]))
        state = case.state if state == case.overwritten else state
        rows = [int(value.rpartition(" ")[2]) for value in self.worker.places[name].values(f"{key} ")]
        kept = case.rows if ROWS[name].driver.transactional else sorted({*case.rows, 0})
        # Of the two runs of a retry or a replacement the order is not given; of a child that ends, how far it gets.
        said = sorted(words for words in self.worker.said(key) if words not in ("ran None", "in-transaction"))
        found, right = (rows, state, said), (kept, case.state, sorted(case.said))
        assert found == right, (found, right)

    def _revoke(self, name: str) -> None:
        key, result = self._sent[name]
        try:
            self.worker.wait_for("in-transaction", key)
        except AssertionError as problem:
            self._problems[name] = problem
        else:
            result.revoke(terminate=True, signal=self.case.revoked_by)
