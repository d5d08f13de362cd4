"""The task that runs now, as Celery's stacks tell it: which attempt it is, whose app's, and until when it may run."""

from __future__ import annotations

import functools
import time
import weakref
from typing import Any, NamedTuple

from celery import _state

from .._context import TaskContext
from . import _apps

__all__ = ["Limits", "is_outermost", "note_start", "running_task", "set_limits"]

#: Hard and soft time limit of the worker, in seconds, where its pool enforces them; None is "no limit".
Limits = tuple[float | None, float | None]


class _Worker:
    """Hold what the worker was started with; `limits` is None outside of workers, and in pools that know none."""

    limits: Limits | None = None


class _Context(NamedTuple):
    """What was found out about an attempt, for as long as its request object lives."""

    request: weakref.ref[Any]
    task: TaskContext


#: What was found out about attempts, by the ids of their request objects. A `WeakKeyDictionary` takes longer to ask, an
#: attribute of the request would be copied into others.
_contexts: dict[int, _Context] = {}

_NO_LIMITS: Limits = (None, None)

#: Tasks that run in the calling thread or greenlet, outermost first; `celery.current_task` shows the last one only.
_stack: Any = _state._task_stack  # type: ignore[attr-defined]  # noqa: SLF001 -- not in its stubs


def set_limits(limits: Limits | None) -> None:
    """Say which time limits the worker's pool enforces on tasks that bring none."""
    _Worker.limits = limits


def running_task() -> TaskContext | None:
    """
    Describe the attempt that runs in the calling thread or greenlet; None outside of tasks.

    A direct call (``task()``, ``task.run()``, ``map``) belongs to the attempt around it. ``apply()``, eager mode and
    an eager retry, which keeps the id, are attempts of their own: each has a request object of its own.
    """
    local = getattr(_stack, "_local", None)  # `_top`, written out: this is asked at every lease
    held = None if local is None else local.__storage__.get(local.__ident_func__())
    task = _stack.top if local is None else held["stack"][-1] if held else None
    if task is None:
        if len(_apps.made) != _apps.Met.number or _apps.waiting:
            _apps.meet_new()
        return None
    request = _top(task.request_stack)
    context = _contexts.get(id(request))
    if context is not None:
        return context.task
    if request is not None and not request.called_directly and is_outermost():  # what the worker calls
        return _describe(task, request)
    return _describe_enclosing()


def note_start(task: Any) -> None:
    """Describe the attempt that begins now, so that its deadline counts from here."""
    request = _top(task.request_stack)
    if request is not None:
        _describe(task, request)


def is_outermost() -> bool:
    """Tell whether the task that runs in the calling thread or greenlet is not part of another one."""
    local = getattr(_stack, "_local", None)
    if local is None:
        return len(_stack) == 1
    held = local.__storage__.get(local.__ident_func__())  # `len` asks in five steps
    return held is not None and len(held["stack"]) == 1


def _top(stack: Any) -> Any:
    """Give what stands on top of one of Celery's stacks; None if it is empty. Its own ``top`` takes far longer."""
    local = getattr(stack, "_local", None)
    if local is None:  # Celery was told to USE_FAST_LOCALS
        return stack.top
    held = local.__storage__.get(local.__ident_func__())
    return held["stack"][-1] if held else None


def _describe_enclosing() -> TaskContext | None:
    """Go down the stacks to the first request that the worker, or ``apply()``, has made."""
    depths: dict[int, int] = {}
    for task in reversed(_stack.stack):
        depth = depths[id(task)] = depths.get(id(task), 0) + 1
        requests = task.request_stack.stack
        if depth > len(requests):
            continue
        request = requests[-depth]
        if not _is_called_directly(request, requests[-depth - 1] if depth < len(requests) else None):
            return _describe(task, request)
    return None


def _is_called_directly(request: Any, below: Any) -> bool:
    """
    Tell whether *request* stands for a direct call, with *below* being the same task's request under it.

    A task that calls itself gets a copy of its own request, which claims to come from the worker.
    """
    if request.called_directly:
        return True
    return (
        below is not None
        and request.id == below.id
        and request.retries == below.retries
        and request.delivery_info is below.delivery_info
    )


def _describe(task: Any, request: Any) -> TaskContext:
    key = id(request)
    known = _contexts.get(key)
    if known is not None:
        return known.task
    context = TaskContext(
        key=object(),
        system="celery",
        task_id=request.id or "",
        name=task.name,
        registry=_apps.registry_of(task.app),
        deadline=_deadline(task, request),
        entry=functools.partial(getattr, task, "run"),
        repetition=str(request.replaced_task_nesting or 0),  # `self.replace` keeps the id, `self.retry` too
    )
    _contexts[key] = _Context(weakref.ref(request, functools.partial(_forget, key)), context)
    return context


def _forget(key: int, _: object, contexts: dict[int, _Context] = _contexts) -> None:
    contexts.pop(key, None)  # bound as a default, for a module's names go before its objects do


def _deadline(task: Any, request: Any) -> float | None:
    """Say at which monotonic time the first of the attempt's limits strikes. Eager tasks have none."""
    defaults = _Worker.limits
    if defaults is None or request.is_eager:
        return None
    sent = request.timelimit or _NO_LIMITS
    hard = sent[0] or task.time_limit or defaults[0]
    soft = sent[1] or task.soft_time_limit or defaults[1]
    if not hard or not soft:
        limit = hard or soft
        return time.monotonic() + limit if limit else None
    return time.monotonic() + min(hard, soft)
