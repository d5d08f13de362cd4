"""The table of outcomes under Celery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery.result import AsyncResult

from tests.outcomes import table
from tests.outcomes.celery_worker import CeleryWorker

#: What is said of a task that returns.
COMMITTED = ["after_commit", "on_success", "ran SUCCESS"]


@dataclass(frozen=True)
class Case(table.Case):
    """
    One row of the table.

    Attributes:
        revoked_by: Signal of a revoke, once the task is in its transaction.
        overwritten: The state that Celery may store as well, before or after that of the run.
    """

    revoked_by: str = ""
    overwritten: str = ""

    @property
    def is_struck(self) -> bool:
        return bool(self.revoked_by)


class Batch(table.Batch):
    """One case, sent for every driver at once."""

    case: Case
    worker: CeleryWorker

    def send(self, name: str, key: str) -> AsyncResult[Any]:
        return self.worker.send(self.case.way, name, key, **self.case.options)

    def strike(self, sent: AsyncResult[Any]) -> None:
        sent.revoke(terminate=True, signal=self.case.revoked_by)

    def state(self, sent: AsyncResult[Any], case: Case) -> str:
        # Where Celery stores two states in no order, those that the runs themselves have told count.
        state = self.worker.state(sent, case.state, *filter(None, [case.overwritten]))
        return case.state if state == case.overwritten else state
