"""How a horse is stopped: the one that is meant, while it runs the job that is meant, and never the worker itself."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from rq.job import Job
from rq.queue import Queue
from rq.worker import BaseWorker

__all__ = ["KILL", "StoppingMixin"]

#: What ends a horse at once. Windows has no such signal, and no horse; but producers, which import this.
KILL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)


class StoppingMixin(BaseWorker):
    """
    Stop horses as RQ does, without three of its races.

    Commands (``stop-job``, ``stop-execution``, ``kill-horse``) come in a thread of their own, which looks at the
    running job first and kills afterwards. In RQ:

    1. Before a horse has started, and once it has ended, its pid is 0, and ``getpgid(0)`` is the worker's own group.
    2. A horse leaves the worker's group by itself; a kill that comes before hits that group.
    3. A job may end, and the next one begin, between the look and the kill.

    Here a pid of 0 kills nobody, the parent too puts the horse into its group, and the look, the kill and the start of
    a horse exclude each other. A job that is stopped before its horse has started is never run.

    Source:
        Experiments with rq 3.0.0: with the windows widened the worker killed itself, and the job was lost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Taken by the thread of commands, and by the main thread as it starts a horse; never by a signal handler, which
        # may have interrupted whoever holds the lock of the log that this thread waits for.
        self._command_lock = threading.RLock()
        super().__init__(*args, **kwargs)

    def handle_payload(self, message: Any) -> None:
        """Obey a command, while no horse is started."""
        with self._command_lock:
            super().handle_payload(message)  # type: ignore[no-untyped-call]  # RQ is typed in part

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job; a stop that came too late for an earlier one is forgotten."""
        with self._command_lock:
            self._stopped_job_id = None
            self._executions = []
        super().execute_job(job, queue)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Start a horse for *job*, unless it was stopped meanwhile."""
        with self._command_lock:
            if self._stopped_job_id == job.id:
                self.log.info("Worker %s: job %s was stopped before it began", self.name, job.id)
                return
            self._start_horse(job, queue)

    def _start_horse(self, job: Job, queue: Queue) -> None:
        super().fork_work_horse(job, queue)  # type: ignore[misc]  # of `rq.worker.Worker`; others don't call it
        _put_into_own_group(self._horse_pid)

    def handle_job_failure(self, job: Job, queue: Queue, *args: Any, **kwargs: Any) -> None:
        """
        Store that a job has failed, or was stopped.

        One whose horse did not come to begin it is still in the queue's intermediate list: RQ's maintenance would find
        it there, call it failed once more a minute later, and perhaps retry it.
        """
        if not self.is_horse:
            queue.intermediate_queue.remove(job.id)
        super().handle_job_failure(job, queue, *args, **kwargs)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Wait for the horse's end; one that was stopped before it began ends as if it had been killed."""
        if not self._horse_pid:
            return None, int(KILL), None
        return super().wait_for_horse()

    def kill_horse(self, sig: signal.Signals = KILL) -> None:
        """Send *sig* to the horse that runs a job, and to the processes that the job has started."""
        pid = self._horse_pid
        if not pid:
            self.log.debug("Worker %s: no horse to kill", self.name)
            return
        try:
            _put_into_own_group(pid)
            group = os.getpgid(pid)
            if group == os.getpgrp():  # whatever the job did: not the worker
                os.kill(pid, sig)
            else:
                os.killpg(group, sig)
        except ProcessLookupError:
            self.log.debug("Worker %s: horse already dead", self.name)
        else:
            self.log.info("Worker %s: killed horse pid %s", self.name, pid)


def _put_into_own_group(pid: int) -> None:
    """Do what the horse does itself as it starts, whoever is first."""
    if pid:
        with suppress(OSError):  # it has done so, runs another program, or has ended
            os.setpgid(pid, pid)
