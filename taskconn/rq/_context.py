"""What RQ tells the core of the job that runs: who it is, when it must end, and that a returned `Retry` fails it."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timezone

import rq.job
from rq.exceptions import ShutDownImminentException, StopRequested
from rq.job import Job, Retry, get_current_job
from rq.queue import Queue
from rq.timeouts import BaseTimeoutException

from .._context import TaskContext, register
from . import _settings

__all__ = ["current_job_context"]

#: Attribute of a job under which its context is kept: one attempt is one `Job` object, fetched for it.
_SLOT = "_taskconn_context"

#: What `get_current_job` reads, without its two checks of arguments; it is private, and another 3.x may lack it.
_get_job: Callable[[], Job | None] = getattr(getattr(rq.job, "_current_job", None), "get", get_current_job)

#: Worker's name in jobs that run in their caller (``is_async=False``): no time limit is set for them.
_IN_CALLER = "sync"


def current_job_context() -> TaskContext | None:
    """Describe the job that runs in the calling thread; None outside of jobs."""
    job = _get_job()
    if job is None:
        return None
    kept: dict[str, TaskContext] = job.__dict__
    context = kept.get(_SLOT)
    if context is None:
        context = kept[_SLOT] = _describe(job)
    return context


def _describe(job: Job) -> TaskContext:
    return TaskContext(
        key=object(),  # of this attempt alone: a job made inside another one has its own
        system="rq",
        task_id=job.id,
        name=job.func_name or "",
        registry=_settings.registry(),
        deadline=_deadline(job),
        returns_commit=_is_success,
        entry=functools.partial(_function_of, weakref.ref(job)),  # the job holds this
        repetition=_repetition(job),
    )


def _function_of(job: weakref.ref[Job]) -> object:
    alive = job()
    return None if alive is None else alive.func


def _repetition(job: Job) -> str:
    """
    Tell apart what has one id: each run of a ``Repeat``, and jobs that were enqueued under an id of the user's again.

    Retries of one run have the same, also after its horse was killed.

    Source:
        rq 3.0.0, `Repeat.schedule`: it counts `repeats_left` down, and saves the same job; `created_at` stays.
    """
    created = job.created_at.isoformat()
    return created if job.repeats_left is None else f"{created}:{job.repeats_left}"


def _is_success(result: object) -> bool:
    return not isinstance(result, Retry)


def _deadline(job: Job) -> float | None:
    """
    Say when RQ will interrupt the job, in seconds of the monotonic clock; None if never.

    Source:
        rq 3.0.0, `BaseWorker.perform_job`: the limit is armed right after ``started_at`` was set.
    """
    limit_s = job.timeout or Queue.DEFAULT_TIMEOUT
    if limit_s == -1 or job.started_at is None or job.worker_name == _IN_CALLER:
        return None
    elapsed_s = (datetime.now(timezone.utc) - job.started_at).total_seconds()
    return time.monotonic() + float(limit_s) - elapsed_s


register(current_job_context, interrupts=(BaseTimeoutException, ShutDownImminentException, StopRequested))
