"""What a warm horse is given: job, queue and execution as its worker has them, which a fork would have copied."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Collection
from typing import Any, NamedTuple

from rq.executions import Execution
from rq.job import UNEVALUATED, Job
from rq.queue import Queue

from ._thrift import Commands, ThriftyMixin

__all__ = ["pack", "unpack"]

log = logging.getLogger("taskconn")

#: Attributes of a job that the horse has itself.
_NOT_SENT = frozenset({"connection", "serializer", "_taskconn_context"})

#: Those that RQ makes of others when they are asked for.
_UNEVALUATED = frozenset({"_success_callback", "_failure_callback", "_stopped_callback"})

#: What RQ reads out of ``_data``.
_IN_DATA = frozenset({"_func_name", "_instance", "_args", "_kwargs"})


class _Sent(NamedTuple):
    """What goes through the channel. A class of None is the worker's own, a state of None is to be fetched."""

    job_id: str
    job_class: type[Job] | None
    job_state: dict[str, Any] | None
    unevaluated: tuple[str, ...]
    queue_name: str
    queue_class: type[Queue] | None
    execution: dict[str, Any] | None
    held: Commands | None


def pack(worker: ThriftyMixin, job: Job, queue: Queue, execution: Execution | None) -> bytes:
    """
    Turn a job as it was dequeued into bytes, with whatever a job class of the user's has added to it.

    What can't be pickled makes the horse fetch the job from Redis once more, as `rq.SpawnWorker` does.
    """
    sent = _Sent(
        job.id,
        None if type(job) is worker.job_class else type(job),
        *_state(job),
        queue.name,
        None if type(queue) is worker.queue_class else type(queue),
        None if execution is None else _without(execution, {"connection", "_job"}),
        worker.held,
    )
    try:
        return pickle.dumps(sent, pickle.HIGHEST_PROTOCOL)
    except Exception:
        log.debug("job %s can't be pickled as it is; the horse fetches it", job.id, exc_info=True)
        return pickle.dumps(sent._replace(job_class=None, job_state=None, queue_class=None), pickle.HIGHEST_PROTOCOL)


def unpack(worker: ThriftyMixin, payload: bytes) -> tuple[Job, Queue, Execution | None]:
    """
    Make job, queue and execution of what `pack` gave, over *worker*'s connection; what was held back is *worker*'s now.

    Raises:
        NoSuchJobError: The job had to be fetched, and has been deleted.
    """
    sent: _Sent = pickle.loads(payload)  # noqa: S301 -- the worker, which is this process's parent, has packed it
    worker.held = sent.held
    job_class = sent.job_class or worker.job_class
    if sent.job_state is None:
        job = job_class.fetch(sent.job_id, worker.connection, worker.serializer)
    else:
        job = job_class.__new__(job_class)  # as a fork would copy it
        job.__dict__.update(sent.job_state, connection=worker.connection, serializer=worker.serializer)
        job.__dict__.update(dict.fromkeys(sent.unevaluated, UNEVALUATED))
    queue = (sent.queue_class or worker.queue_class)(
        sent.queue_name,
        connection=worker.connection,
        job_class=worker.job_class,
        serializer=worker.serializer,
        death_penalty_class=worker.death_penalty_class,
    )
    if sent.execution is None:
        return job, queue, None
    execution = Execution(sent.execution["id"], sent.job_id, worker.connection)
    execution.__dict__.update(sent.execution, _job=job)
    return job, queue, execution


def _state(job: Job) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give a job's attributes, and the names of those that have no value yet, whose place RQ marks by an object."""
    state = _without(job, _NOT_SENT)
    unevaluated = _UNEVALUATED if state.get("_data", UNEVALUATED) is UNEVALUATED else _UNEVALUATED | _IN_DATA
    names = tuple(name for name, value in state.items() if value is UNEVALUATED or name in unevaluated)
    for name in names:
        del state[name]
    return state, names


def _without(thing: object, names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(thing).items() if name not in names}
