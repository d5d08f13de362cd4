"""Accounts for every job: how it ended, how often it ran, and what it left in the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rq import Queue
from rq.job import Job, JobStatus

from tests.rq.soak.plan import Report


@dataclass(frozen=True)
class Accounts:
    """
    Compare what became of the jobs with what may.

    Attributes:
        report: What came of it is added there.
        queue: Where the jobs were.
        targets: Ids of those that were to be stopped.
        killed: Pids of the horses that were killed.
    """

    report: Report
    queue: Queue
    targets: set[str]
    killed: set[int]

    def settle(self, kinds: Sequence[str], rows: Counter[int]) -> None:
        """Look at every job: *kinds* says how each was to end, *rows* how many rows each has left."""
        killed = 0
        for begin in range(0, len(kinds), 500):
            numbers = range(begin, min(begin + 500, len(kinds)))
            jobs = Job.fetch_many([str(number) for number in numbers], connection=self.queue.connection)
            with self.queue.connection.pipeline() as pipeline:
                for number in numbers:
                    pipeline.lrange(f"soak:{number}", 0, -1)
                begun = [[int(pid) for pid in pids] for pids in pipeline.execute()]
            for number, job, pids in zip(numbers, jobs, begun, strict=True):
                end = self._end_of(job, pids)
                self.report.ends[kinds[number], end] += 1
                killed += end == "killed"
                if wrong := self._wrong(str(number) in self.targets, kinds[number], end, pids, rows[number]):
                    self.report.wrong.append(f"job {number}, which {kinds[number]}, {end}: {wrong}")
        if killed > len(self.killed):
            self.report.wrong.append(f"{killed} jobs died of {len(self.killed)} kills")
        for name, left in (
            ("queue", self.queue.count),
            ("intermediate queue", self.queue.connection.llen(self.queue.intermediate_queue_key)),
            ("registry of started jobs", self.queue.started_job_registry.get_job_count(cleanup=False)),
        ):
            if left:
                self.report.wrong.append(f"{left} jobs are left in the {name}")

    def _end_of(self, job: Job | None, pids: list[int]) -> str:
        assert job is not None
        status = job.get_status(refresh=False)
        if status != JobStatus.FAILED:
            return str(status.value)
        result = job.latest_result()
        text = str(result.exc_string) if result is not None else ""
        if "Work-horse terminated unexpectedly" in text and (not pids or pids[-1] in self.killed):
            return "killed"
        return text.rstrip().splitlines()[-1].partition(":")[0] if text else "failed without a reason"

    @staticmethod
    def _wrong(is_target: bool, kind: str, end: str, pids: list[int], rows: int) -> str:
        """Say what of a job's facts can't be, in a run of RQ's own workers; "" if they can."""
        expected = {"fails": "ValueError", "returns": "finished", "sleeps": "finished"}.get(
            kind, "rq.timeouts.JobTimeoutException"
        )
        allowed = {expected, "killed"} | ({"stopped"} if is_target else set())
        if end not in allowed:
            return f"it may end as {', '.join(sorted(allowed))}"
        if len(pids) > 1:
            return f"it ran in the processes {pids}"
        if end == expected and len(pids) != 1:
            return "it has never begun"
        if end == "finished" and rows != 1:
            return f"it left {rows} rows"
        if end in {"ValueError", "rq.timeouts.JobTimeoutException"} and rows:
            return f"it left {rows} rows"
        return "it left more than one row" if rows > 1 else ""
