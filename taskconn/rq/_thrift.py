"""Fewer round trips to Redis for each job: what RQ writes several times in a row is written once, together."""

from __future__ import annotations

import functools
import math
import time
from contextlib import suppress
from typing import Any

import rq.executions
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now
from rq.worker import BaseWorker, SpawnWorker, WorkerStatus

__all__ = ["Commands", "ThriftyMixin", "share_driver_info"]

#: A heartbeat that was written so many seconds ago is not written again. RQ's live for 60 at the least.
_FRESH_S = 1.0

#: Version of Redis from which on a job that was taken stands in an intermediate list until it begins.
_HAS_INTERMEDIATE_LIST = (6, 2, 0)

#: Commands of a pipeline: arguments and options of each.
Commands = list[tuple[Any, Any]]


class ThriftyMixin(BaseWorker):
    """
    Write what RQ writes of a job and its worker, in fewer round trips.

    Of the 20 that rq 3.0.0 needs for a job, 13 are left out:

    1. That the worker is idle, and lives, is written when it begins to wait: as long as there are jobs it looks for the
       next one without waiting, and its record, which each job's process keeps alive, says that it is busy.
    2. A heartbeat is one round trip, and left out if the last one of the same time to live is less than a second old.
    3. The execution is registered along with the job's start, by the process that runs the job.
    4. The last heartbeat of a job that has returned is written with its outcome.
    """

    _beat_at = -math.inf
    _beat_timeout: int | None = None
    #: The loop has begun: state and execution may be written later.
    _is_looping = False
    #: The worker is idle, and Redis does not know.
    _owes_state = False
    #: What registers the execution of a job that has not begun.
    held: Commands | None = None
    _is_preparing = False

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Take the next job. One that is there already is taken before anybody is told that the worker is idle."""
        self._is_looping = True
        if self._owes_state and (timeout is None or len(self._ordered_queues) == 1):
            found = super().dequeue_job_and_maintain_ttl(None, max_idle_time)
            if found is not None or timeout is None:
                return found
        if self._owes_state or self._state != WorkerStatus.IDLE:
            self._write_state()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def teardown(self) -> None:
        """End the worker, which is seen to be idle in what RQ keeps of it."""
        if self._owes_state and not self.is_horse:
            self._write_state()
        super().teardown()  # type: ignore[no-untyped-call]  # RQ is typed in part

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001 -- RQ's signature
        """Wait while workers are suspended, which is asked without a transaction."""
        if self._is_looping and not self.connection.exists(WORKERS_SUSPENDED):
            self.heartbeat()
        else:
            super().check_for_suspension(burst)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Write the worker's state; that it is idle between two jobs only if it has to wait for the second."""
        if pipeline is not None or state != WorkerStatus.IDLE:
            self._owes_state = False
            super().set_state(state, pipeline)
        elif self._is_looping:
            self._owes_state = self._owes_state or self._state != state
            self._state = state
        else:
            self._write_state()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that the worker lives, for *timeout* seconds, unless that was just said, or will be in a moment."""
        at = time.monotonic()
        if pipeline is not None and self._is_preparing:
            self._register_execution(pipeline)
        if timeout is None and self._owes_state:
            return
        is_fresh = timeout == self._beat_timeout and at - self._beat_at < _FRESH_S
        # Of those that go along with others RQ looks at the answers, but for a job's first.
        if is_fresh and (pipeline is None or timeout is None or self._is_preparing):
            return
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        else:
            with self.connection.pipeline(transaction=False) as own:
                super().heartbeat(timeout, own)
                own.execute()
        self._beat_at, self._beat_timeout = at, timeout

    def prepare_execution(self, job: Job) -> Execution:
        """
        Make the execution of a job. It is registered when the job begins, where a job in between can't get lost.

        Until then the job stands in its queue's intermediate list, if there is one, where maintenance finds it.
        """
        self.held = None
        if not self._may_hold():
            return super().prepare_execution(job)
        holding = _Holding(self)
        execution = rq.executions.prepare_execution(holding, job)  # type: ignore[arg-type]  # looks like a worker
        self.held = holding.commands
        return execution

    def prepare_job_execution(self, *args: Any, **kwargs: Any) -> None:
        """Write that the job begins, and what was held back."""
        self._is_preparing = True
        try:
            super().prepare_job_execution(*args, **kwargs)
        finally:
            self._is_preparing = False
        if self.held:  # another release of RQ's has sent no heartbeat
            with self.connection.pipeline() as own:
                self._register_execution(own)
                own.execute()

    def monitor_work_horse(self, *args: Any, **kwargs: Any) -> None:
        """Watch the horse; what was held back is its own to write."""
        self.held = None
        super().monitor_work_horse(*args, **kwargs)  # type: ignore[misc]  # of `rq.worker.Worker`; others don't call it

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:
        """Note that the job has ended; the heartbeat goes along with what it returned, if nothing is called before."""
        if job.get_status(refresh=False) == JobStatus.FAILED or job.success_callback is not None:
            super().handle_execution_ended(job, queue, heartbeat_ttl)
        else:
            job.ended_at = job.last_heartbeat = now()

    def _may_hold(self) -> bool:
        return (
            self._is_looping
            and len(self.queues) == 1
            and not isinstance(self, SpawnWorker)  # whose horse fetches the execution
            and super().prepare_execution.__func__ is BaseWorker.prepare_execution  # type: ignore[attr-defined]  # a method
            and self.get_redis_server_version() >= _HAS_INTERMEDIATE_LIST  # type: ignore[no-untyped-call]  # typed in part
        )

    def _register_execution(self, pipeline: Any) -> None:
        held, self.held = self.held, None
        for arguments, options in held or ():
            pipeline.execute_command(*arguments, **options)

    def _write_state(self) -> None:
        """Write that the worker is idle, and lives."""
        self._owes_state, self._state = False, WorkerStatus.IDLE
        with self.connection.pipeline(transaction=False) as own:
            super().set_state(WorkerStatus.IDLE, own)
            self._beat_at = -math.inf  # what the job's process has written of it since lives shorter
            self.heartbeat(pipeline=own)
            own.execute()


def share_driver_info(redis: Any) -> None:
    """
    Give every later connection of *redis*, those of horses too, what redis-py has found out about itself for the first.

    Source:
        redis-py 8.1.0, `Connection.__init__`: without ``driver_info`` it looks for its own version in the metadata of
        installed packages. In a horse, whose memory is copied as it is touched, that took 2 of a job's 16 ms.
    """
    pool = redis.connection_pool
    given: dict[str, Any] = pool.connection_kwargs
    if given.keys() & {"driver_info", "lib_name", "lib_version"}:
        return
    with suppress(Exception):  # an older release, or a server that is down, of which RQ has more to say
        connection = pool.get_connection()
        pool.release(connection)
        given["driver_info"] = connection.driver_info


class _Holding:
    """Stand for a worker in `rq.executions.prepare_execution`, and keep what it would have sent."""

    def __init__(self, worker: BaseWorker) -> None:
        self._worker = worker
        self.connection = self
        self.commands: Commands | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def pipeline(self) -> Any:
        """Give a pipeline that keeps its commands."""
        pipeline: Any = self._worker.connection.pipeline()
        pipeline.execute = functools.partial(self._keep, pipeline)  # of this one alone
        return pipeline

    def _keep(self, pipeline: Any) -> list[Any]:
        """Take the commands out of *pipeline*; another client's, which has them in another form, sends them now."""
        stack = list(pipeline.command_stack)
        if not all(isinstance(command, tuple) for command in stack):
            sent: list[Any] = type(pipeline).execute(pipeline)
            return sent
        self.commands = stack
        return []
