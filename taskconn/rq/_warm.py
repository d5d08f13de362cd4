"""Workers that keep their horse: one forked process runs many jobs, and is replaced when there is a reason to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rq.worker
from rq.job import Job
from rq.queue import Queue

from .. import _leftovers
from .._process import fork
from . import _assignment, _warm_horse
from ._channel import WorkerEnd, open_channel
from ._recycling import Limits
from ._stopping import KILL
from ._worker import WorkerMixin

__all__ = ["WarmHerokuWorker", "WarmWorker", "WarmWorkerMixin"]

#: Status of a horse that left with 0 in the middle of a job: ``os._exit(0)``. RQ would leave the job STARTED.
_LEFT_SILENTLY = os.EX_SOFTWARE << 8 if hasattr(os, "EX_SOFTWARE") else 70 << 8

#: Longest wait for an idle horse to leave, in seconds; then it is terminated, and then killed.
_PATIENCE_S = 5.0


class WarmWorkerMixin(WorkerMixin):
    """
    Run many jobs in one forked work horse: ``class Mine(WarmWorkerMixin, TheirWorker)``, with a worker that forks.

    The worker watches the horse as RQ does, by RQ's own code: heartbeats, time limits, stopping and killing, and what
    becomes of a job whose horse has died, are the same. Between two jobs `horse_pid` is 0.

    Attributes:
        warm_max_jobs, warm_max_age, warm_max_rss, warm_max_growth, warm_max_idle, warm_recycle_on: Settings of the
            class, see `Limits`. ``TASKCONN_WARM_MAX_JOBS`` and its like, in the environment or the settings module,
            win.
    """

    warm_max_jobs = Limits.max_jobs
    warm_max_age = Limits.max_age
    warm_max_rss = Limits.max_rss
    warm_max_growth = Limits.max_growth
    warm_max_idle = Limits.max_idle
    warm_recycle_on = Limits.recycle_on

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._limits: Limits | None = None
        self._warm: WorkerEnd | None = None  # what RQ calls `_horse_pid` is 0 while the horse is idle
        self._is_doomed = False
        self._is_second_try = False
        self._abandoned: list[int] = []
        super().__init__(*args, **kwargs)

    def _check_settings(self) -> None:
        super()._check_settings()
        self._limits = Limits.of(self)

    def _start_horse(self, job: Job, queue: Queue) -> None:
        """Give *job* to the horse, forked now if there is none that can take it. Commands wait meanwhile."""
        os.environ["RQ_WORKER_ID"], os.environ["RQ_JOB_ID"] = self.name, job.id
        execution = next(iter(self.executions.values()), None)
        self._assigned = _assignment.pack(self, job, queue, execution)
        self._is_second_try = False
        self._give()

    def _give(self) -> None:
        for _ in range(2):
            horse = self._horse()
            self._horse_pid = horse.pid  # from here on it can be killed, and is not used again then
            if horse.give(self._assigned):
                break
        self.procline(f"Gave a job to {horse.pid} at {time.time()}")  # type: ignore[no-untyped-call]  # RQ is typed in part

    def _horse(self) -> WorkerEnd:
        """Find the horse, or fork one."""
        horse = self._warm
        if horse is not None and not self._is_doomed and horse.is_ready():
            return horse
        self._end_horse()
        return self._fork()

    def _fork(self) -> WorkerEnd:
        _leftovers.close_unused()
        if self._limits is None:  # somebody starts horses without `work`
            self._limits = Limits.of(self)
        self._collect()
        _warm_horse.flush()
        ours, theirs = open_channel()
        pid = fork()
        if pid == 0:
            self._horse_pid = 0
            _warm_horse.live(self, theirs, self._limits)
        theirs.close()
        with suppress(OSError):  # a kill from now on hits the horse's group, not ours
            os.setpgid(pid, pid)
        ours.adopt(pid)
        self._warm, self._is_doomed = ours, False
        self.log.debug("Worker %s: forked work horse %d", self.name, pid)
        return ours

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """
        Wait until the horse is done with its job, or gone.

        RQ interrupts this by alarms and calls it again: the horse's message stays in the socket until the next job.

        Returns:
            Pid, status as of ``os.wait4``, and use of resources. The status is 0 if the job's outcome was stored,
            whatever the horse ended with afterwards, and never 0 if it was not. Resources are those of the horse's
            whole life, None while it lives.
        """
        horse = self._warm
        if not self._horse_pid or horse is None:
            return super().wait_for_horse()
        if horse.end is None and not horse.wait():
            if not horse.has_begun() and not self._is_second_try and self._give_again():
                return self.wait_for_horse()
            horse.end = _reap(horse)
        return horse.end or (horse.pid, 0, None)

    def kill_horse(self, sig: signal.Signals = KILL) -> None:
        """Send *sig* to the horse if it runs a job; once killed it is given no other one."""
        if self._horse_pid and sig == KILL:
            self._is_doomed = True
        super().kill_horse(sig)

    def teardown(self) -> None:
        """End the worker, and its horse if that is idle; a horse that works ends when its job does."""
        try:
            super().teardown()
        finally:
            if not self.is_horse:
                self._end_horse()
                self._collect()

    def _after_job(self, exit_status: int) -> None:
        _leftovers.roll_back_leftovers("a job")

    def _collect(self) -> None:
        """Collect earlier horses that were still at work when they were replaced, and have ended."""
        self._abandoned = [pid for pid in self._abandoned if not _has_ended(pid)]

    def _give_again(self) -> bool:
        """Give a job that no horse has begun to another one, once; False if it was killed on purpose."""
        with _without_alarm(), self._command_lock:
            if self._is_doomed:
                return False
            self._is_second_try = True
            self.log.info("Worker %s: work horse %d ended before it began its job", self.name, self._horse_pid)
            self._give()
        return True

    def _end_horse(self) -> None:
        """Let the horse go: at once if it was killed, politely if it is idle, and when it is done if it works."""
        horse, self._warm = self._warm, None
        if horse is None:
            return
        is_idle = horse.end is None and (horse.has_ended() or horse.is_gone())
        horse.close()
        if horse.end is not None:
            return
        steps: tuple[tuple[signal.Signals | None, float], ...]
        if self._is_doomed or horse.is_broken:
            steps = ((KILL, _PATIENCE_S),)
        elif is_idle:
            steps = ((None, _PATIENCE_S), (signal.SIGTERM, 1.0), (KILL, _PATIENCE_S))
        else:
            steps = ((None, 0.0),)
        for number, patience_s in steps:
            if number is not None:
                with suppress(ProcessLookupError):
                    os.kill(horse.pid, number)
            if _has_ended(horse.pid, patience_s):
                return
        self._abandoned.append(horse.pid)


class WarmWorker(WarmWorkerMixin, rq.worker.Worker):
    """Run many jobs in one forked work horse."""


class WarmHerokuWorker(WarmWorkerMixin, rq.worker.HerokuWorker):
    """Run many jobs in one forked work horse, and give it a few seconds when the dyno is shut down."""


def _reap(horse: WorkerEnd) -> tuple[int | None, int | None, Any]:
    """Collect a horse that is gone, and say how it ended, for RQ: see `WarmWorkerMixin.wait_for_horse`."""
    pid = status = usage = None
    with suppress(ChildProcessError):  # collected already, and an alarm has come between
        pid, status, usage = os.wait4(horse.pid, 0)
    if horse.has_ended():
        return horse.pid, 0, usage
    return pid, _LEFT_SILENTLY if status == 0 else status, usage


def _has_ended(pid: int, patience_s: float = 0.0) -> bool:
    """Wait for the end of a child, and collect it."""
    give_up_at, pause_s = time.monotonic() + patience_s, 0.0005
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


@contextmanager
def _without_alarm() -> Iterator[None]:
    """Keep RQ's alarm, which raises wherever it strikes, from a fork."""
    left_s = signal.alarm(0)
    try:
        yield
    finally:
        if left_s:
            signal.alarm(left_s)
