"""Worker classes of users, made of ours; and some that widen a window in which something may happen."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import rq.worker
from rq.job import Job
from rq.queue import Queue
from rq.timeouts import HorseMonitorTimeoutException

import taskconn.rq
from taskconn.rq._channel import HorseEnd

#: Longest wait for what never comes if the library is right, in seconds.
_MOMENT_S = 0.5


class HastyHerokuWorker(taskconn.rq.HerokuWorker):
    imminent_shutdown_delay = 0


class HastyWarmHerokuWorker(taskconn.rq.WarmHerokuWorker):
    imminent_shutdown_delay = 0


class TwoJobs(taskconn.rq.WarmWorker):
    warm_max_jobs = 2


class _StoppedBeforeItsHorse(taskconn.rq.WorkerMixin):
    """Wait, between the moment when a job counts as running and its horse's start, until it has been stopped."""

    _has_waited = False

    def prepare_execution(self, job: Job) -> Any:
        execution = super().prepare_execution(job)
        if not self._has_waited:
            self._has_waited = True
            print(f"prepared {self.name}", flush=True)
            while self._stopped_job_id is None:
                time.sleep(0.005)
            with self._command_lock:  # the command is through
                pass
        return execution


class StoppedBeforeItsHorse(_StoppedBeforeItsHorse, taskconn.rq.Worker):
    pass


class StoppedBeforeItsWarmHorse(_StoppedBeforeItsHorse, taskconn.rq.WarmWorker):
    pass


class _LateGroup(taskconn.rq.WorkerMixin):
    """Have horses that never come to leave the worker's process group by themselves."""

    def _start_horse(self, job: Job, queue: Queue) -> None:
        def never() -> None:
            os.write(1, b"in the group\n")
            signal.pause()

        original = os.setpgrp
        if job.func_name.endswith(".wait"):
            os.setpgrp = never
        try:
            super()._start_horse(job, queue)
        finally:
            os.setpgrp = original


class LateGroup(_LateGroup, taskconn.rq.Worker):
    pass


class LateWarmGroup(_LateGroup, taskconn.rq.WarmWorker):
    pass


class _LateKill(taskconn.rq.WorkerMixin):
    """Let the job that is to be stopped end, and give the next one a moment to begin, before the kill."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._second_began = threading.Event()
        self._jobs = 0
        super().__init__(*args, **kwargs)

    def _start_horse(self, job: Job, queue: Queue) -> None:
        super()._start_horse(job, queue)
        self._jobs += 1
        if self._jobs == 2:
            self._second_began.set()

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        self.connection.rpush("end of the first", 1)
        self._second_began.wait(_MOMENT_S)
        super().kill_horse(sig)


class LateKill(_LateKill, taskconn.rq.Worker):
    pass


class LateWarmKill(_LateKill, taskconn.rq.WarmWorker):
    pass


class HorseEndsBeforeItBegins(taskconn.rq.WarmWorker):
    """Kill an idle horse in the moment in which it has been given its second job, and has not taken it."""

    _jobs = 0

    def _give(self) -> None:
        self._jobs += 1
        horse = self._warm
        if self._jobs != 2 or horse is None:
            super()._give()
            return
        os.kill(horse.pid, signal.SIGSTOP)
        super()._give()
        os.kill(horse.pid, signal.SIGKILL)


class HorseLingers(taskconn.rq.WarmWorker):
    """Have the first horse close its end as its second job has come, and live on until it is told to go."""

    _forks = 0

    def _fork(self) -> Any:
        self._forks += 1
        original = HorseEnd.take
        if self._forks == 1:
            HorseEnd.take = functools.partialmethod(_linger, original, [])  # type: ignore[assignment]  # as one is called
        try:
            return super()._fork()
        finally:
            HorseEnd.take = original  # type: ignore[method-assign]  # in the worker, and in its later horses


def _linger(channel: HorseEnd, original: Callable[[HorseEnd], Any], calls: list[int]) -> Any:
    calls.append(1)
    if len(calls) == 2 and not channel.is_quiet_for(60):
        channel.close()
        os.write(1, f"lingering {os.getpid()}\n".encode())
        signal.pause()
    return original(channel)


class AlarmAfterTheReport(taskconn.rq.WarmWorker):
    """Be interrupted whenever the end of a job has just been noticed."""

    _alarms = 0

    def wait_for_horse(self) -> Any:
        found = super().wait_for_horse()
        self._alarms += 1
        if self._alarms % 3:
            raise HorseMonitorTimeoutException
        return found


class FailingMonitor(taskconn.rq.WarmWorker):
    """Leave by an unexpected error while the horse works."""

    def wait_for_horse(self) -> Any:
        while not self._warm.has_begun():  # type: ignore[union-attr]  # it has just been given a job
            time.sleep(0.005)
        raise RuntimeError("unexpected")


class Recording(taskconn.rq.WarmWorker):
    """Tell, in the horse, what RQ believes to run as a job begins."""

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        self._executions.extend(self.executions.values())
        state = [len(self.executions), len(self._executions), self._stopped_job_id, self.get_current_job_id()]
        self.connection.rpush("states", repr(state))
        has_succeeded = super().perform_job(*args, **kwargs)
        self._stopped_job_id = "left over"
        return has_succeeded


class StatefulJob(Job):
    """Have something that is not in Redis."""

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self.seen_by = os.getpid()


class StatefulWorker(taskconn.rq.WarmWorker):
    """Write down, in the horse, what the job had when it was dequeued."""

    def perform_job(self, job: Job, *args: Any, **kwargs: Any) -> bool:
        seen_by = job.seen_by  # type: ignore[attr-defined]  # of `StatefulJob`
        self.connection.set("seen by", f"{seen_by} in {os.getpid()}")
        return super().perform_job(job, *args, **kwargs)


def _note_executions(worker: Any, job: Job) -> None:
    for job_id in job.started_job_registry.get_job_ids():
        worker.connection.rpush("executions", job_id)


class _Performs(rq.worker.BaseWorker):
    def perform_job(self, job: Job, *args: Any, **kwargs: Any) -> bool:
        _note_executions(self, job)
        return True


class Performing(_Performs, taskconn.rq.Worker):
    """Perform jobs otherwise."""


class _Theirs(_Performs, rq.worker.Worker):
    pass


class PerformingBehind(taskconn.rq.WarmWorkerMixin, _Theirs):
    """Perform jobs otherwise, by a class that ours is mixed into."""


class Preparing(taskconn.rq.WarmWorker):
    """Begin jobs otherwise."""

    def prepare_job_execution(self, job: Job, *args: Any, **kwargs: Any) -> None:
        _note_executions(self, job)
