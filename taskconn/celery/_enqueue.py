"""Sending a task when the transaction that it is about has been committed, with its id known before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery.result import AsyncResult
from celery.utils import uuid
from kombu.serialization import dumps

from .._work import after_commit

__all__ = ["apply_async_on_commit", "delay_on_commit"]


def delay_on_commit(task: Any, /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
    """
    Do what ``task.delay(*args, **kwargs)`` does, once the current lease has committed; see `apply_async_on_commit`.

    Args:
        task: Celery task.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    return apply_async_on_commit(task, args, kwargs)


def apply_async_on_commit(
    task: Any, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
) -> AsyncResult[Any]:
    """
    Send *task* once the current lease has committed, and never if it is rolled back; at once outside of leases.

    The arguments are checked now: Celery would do so when it sends, and the commit could not be undone for it. They are
    sent as they are then, so they must not be changed meanwhile. If the broker can't be reached after the commit, that
    is logged and the message is lost; where it must not be, write a row (an outbox) that another task sends from.

    Args:
        task: Celery task.
        args: Its arguments.
        kwargs: Its keyword arguments.
        options: Those of ``Task.apply_async``. Without ``task_id`` one is made.

    Returns:
        The result, by the id that the task will have. It stays pending if the task is never sent.

    Raises:
        TypeError: The task does not take these arguments.
        kombu.exceptions.EncodeError: They can't be serialized.

    Source:
        Celery's ``delay_on_commit``, for Django, gives None, since the id is made when the message is sent (#8976).
    """
    args, kwargs = tuple(args or ()), dict(kwargs or {})
    _check(task, args, kwargs, options)
    task_id = options.setdefault("task_id", uuid())

    def send() -> None:
        task.apply_async(args, kwargs, **options)

    send.__qualname__ = f"sending {task.name} as {task_id}"  # what the log calls it if it fails
    after_commit(send)
    result: AsyncResult[Any] = task.AsyncResult(task_id)
    return result


def _check(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
    """
    Refuse what `apply_async` would refuse later.

    Source:
        celery 5.7.0, `Task.apply_async`: ``typing``, then models of pydantic, then the serializer.
    """
    if task.typing:
        task.__header__(*args, **kwargs)
    serializer = options.get("serializer") or task.serializer or task.app.conf.task_serializer
    dump_models = getattr(task, "_dump_pydantic_arguments", None)
    body: tuple[Any, Any] = args, kwargs
    if dump_models is not None and serializer != "pickle":
        body = dump_models(*body)
    dumps(body, serializer)
