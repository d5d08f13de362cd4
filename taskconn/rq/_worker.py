"""RQ's six worker classes with connections: what happens in which process, and when."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any

import rq.worker
from rq.job import Job
from rq.queue import Queue
from rq.worker import BaseWorker

from .. import _guard, _leftovers
from .._generation import advance
from .._registry import close_all
from ..errors import ForkRefusedError
from . import _horse, _settings, _start
from ._idling import IdlingMixin
from ._limits import noting_penalty
from ._preload import preload
from ._shutdown import ShutdownMixin
from ._stopping import StoppingMixin
from ._thrift import ThriftyMixin, share_driver_info

__all__ = [
    "HerokuWorker",
    "RandomWorker",
    "RoundRobinWorker",
    "SimpleWorker",
    "SpawnWorker",
    "Worker",
    "WorkerMixin",
    "recycle_at_signal",
]


class WorkerMixin(StoppingMixin, ShutdownMixin, ThriftyMixin, IdlingMixin):
    """
    Give any RQ worker class its connections: ``class Mine(WorkerMixin, TheirWorker)``.

    In the process that runs jobs what is to be warm is opened before a job, and `perform_job` afterwards rolls back
    what the job left open; a work horse then says goodbye to its servers. The parent of horses keeps no idle connection
    across a fork: callbacks that RQ runs there open their own.

    Arguments are passed on as they come: their number differs between RQ's releases.

    Args:
        preload: Names of modules to import in the worker, so that no horse has to; those of the setting
            ``TASKCONN_PRELOAD`` if it is None, or else those of the class.

    Attributes:
        preload: Names of modules, where nothing else says which.

    Source:
        rq 3.0.0: `perform_job` is the only method around the job in the process that runs it, for forked, spawned and
        in-process workers alike; `main_work_horse` never returns.
    """

    preload: Iterable[str] | str = ()

    def __init__(self, *args: Any, preload: Iterable[str] | str | None = None, **kwargs: Any) -> None:
        self._preload = preload
        super().__init__(*args, **kwargs)

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Check the settings before the worker registers itself; a server that is down stops nothing."""
        _start.check(self._check_settings, is_forking=self._is_forking())
        super().bootstrap(*args, **kwargs)
        share_driver_info(self.connection)
        noting_penalty(self.death_penalty_class)  # type: ignore[arg-type]  # made here, so that no horse has to
        _guard.worker_is_ready()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job; if the guard refuses its horse, the job fails, and the worker ends: the next one would, too."""
        try:
            super().execute_job(job, queue)
        except ForkRefusedError as error:
            self.handle_job_failure(job, queue=queue, exc_string=str(error), execution=self.execution)
            self.log.critical("Worker %s: no work horse may be started. %s", self.name, error)
            raise SystemExit(1) from error

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        """Perform a job; at its end nothing of it is left open, and a horse has said goodbye."""
        exit_status = 1  # RQ's, of a horse whose `perform_job` raises
        try:
            self.death_penalty_class = noting_penalty(self.death_penalty_class)  # type: ignore[arg-type]  # classes are hashable
            has_succeeded = super().perform_job(*args, **kwargs)
            exit_status = 0
        finally:
            self._after_job(exit_status)
        return has_succeeded

    def prepare_job_execution(self, *args: Any, **kwargs: Any) -> None:
        """Write that the job begins, then open what is to be warm."""
        super().prepare_job_execution(*args, **kwargs)
        _start.open_early()

    def _may_hold(self) -> bool:
        """Let an execution be registered with its job's start, if no class of a user's decides what happens there."""
        kind, behind = type(self), super().perform_job
        return (
            kind.perform_job is WorkerMixin.perform_job
            and kind.prepare_job_execution is WorkerMixin.prepare_job_execution
            and behind.__func__ is BaseWorker.perform_job  # type: ignore[attr-defined]  # a method
            and super()._may_hold()
        )

    def teardown(self) -> None:
        """End the worker, and say goodbye to its servers."""
        try:
            super().teardown()
        finally:
            if not self.is_horse:
                close_all()

    def _install_signal_handlers(self) -> None:
        """Replace all connections at SIGUSR2, too, at their next safe moment, unless it means something else here."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]  # RQ is typed in part
        recycle_at_signal()

    def _check_settings(self) -> None:
        """Read what is the worker's own; modules are imported before drivers are, for they may configure some."""
        preload(self._preload, type(self).preload)

    def _is_forking(self) -> bool:
        """Tell whether jobs run in forked horses."""
        return isinstance(self, rq.worker.Worker) and not isinstance(self, rq.worker.SpawnWorker)

    def _after_job(self, exit_status: int) -> None:
        if self.is_horse:
            _horse.say_goodbye(exit_status)
        else:
            _leftovers.roll_back_leftovers("a job")

    def _start_horse(self, job: Job, queue: Queue) -> None:
        """Close what this process has open and does not use, then start the horse."""
        _leftovers.close_unused()
        super()._start_horse(job, queue)


class Worker(WorkerMixin, rq.worker.Worker):
    """Fork a work horse for each job."""


class SpawnWorker(WorkerMixin, rq.worker.SpawnWorker):
    """Start a fresh interpreter for each job: it reads the settings module, or the environment, itself."""

    def fork_work_horse(self, *args: Any, **kwargs: Any) -> None:
        """Tell the horse which settings module to read, then start it."""
        _settings.export()
        super().fork_work_horse(*args, **kwargs)


class RoundRobinWorker(WorkerMixin, rq.worker.RoundRobinWorker):
    """Fork a work horse for each job; take jobs from the queues in turn."""


class RandomWorker(WorkerMixin, rq.worker.RandomWorker):
    """Fork a work horse for each job; take jobs from the queues at random."""


class HerokuWorker(WorkerMixin, rq.worker.HerokuWorker):
    """Fork a work horse for each job, and give it a few seconds when the dyno is shut down."""


class SimpleWorker(WorkerMixin, rq.worker.SimpleWorker):
    """Run every job in the worker's own process, over connections that stay open between jobs."""


def recycle_at_signal() -> None:
    """Have SIGUSR2 replace the connections of this process and of all that were forked from the same one."""
    number = getattr(signal, "SIGUSR2", None)
    if number is not None and signal.getsignal(number) is signal.SIG_DFL:
        signal.signal(number, lambda *_: advance())
