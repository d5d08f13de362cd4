"""Enqueueing a job when the transaction that it is about has been committed, with its id known before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from rq.job import Job
from rq.queue import Queue
from rq.types import FunctionReferenceType

from .._work import after_commit

__all__ = ["enqueue_on_commit"]


def enqueue_on_commit(queue: Queue, function: FunctionReferenceType, /, *args: Any, **kwargs: Any) -> Job:
    """
    Do what ``queue.enqueue(function, *args, **kwargs)`` does, once the current lease has committed.

    It is never done if the lease is rolled back, and at once outside of leases. The arguments are checked now, also
    against the function's signature, which RQ leaves to the worker. They are sent as they are then, so they must not be
    changed meanwhile. If Redis can't be reached after the commit, that is logged and the job is lost; where it must not
    be, write a row (an outbox) that another job sends from.

    Args:
        queue: Where to.
        function: What to run: a function, or its name.
        args: Its arguments.
        kwargs: Its keyword arguments, and the options of ``Queue.enqueue`` (``job_timeout``, ``retry``, ``args``, ...).
            Without ``job_id`` one is made.

    Returns:
        The job, with the id that it will have. It is not in Redis yet: ``refresh()`` fetches it after the commit.

    Raises:
        TypeError: The function does not take these arguments.
        ValueError: It is one of ``__main__``, which no worker can import.
        Exception: What the serializer raises.
    """
    kwargs.setdefault("job_id", str(uuid4()))
    call = Queue.parse_args(function, *args, **kwargs)  # empties a copy of kwargs
    if not isinstance(function, str):
        _check(function, tuple(call.args or ()), dict(call.kwargs or {}))
    job = queue.job_class.create(
        function,
        args=call.args,
        kwargs=call.kwargs,
        id=kwargs["job_id"],
        connection=queue.connection,
        origin=queue.name,
        serializer=queue.serializer,
    )
    job.data  # noqa: B018 -- serialized by being looked at

    def enqueue() -> None:
        queue.enqueue(function, *args, **kwargs)

    enqueue.__qualname__ = f"enqueueing {job.func_name} as {job.id}"  # what the log calls it if it fails
    after_commit(enqueue)
    return job


def _check(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # of C
        return
    signature.bind(*args, **kwargs)
