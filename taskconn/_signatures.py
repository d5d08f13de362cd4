"""What `with_db` asks of a function when it decorates it: where the connection goes, and whether it can be wrapped."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

from ._context import is_task_object
from .errors import DecorationError

__all__ = [
    "annotations_of",
    "find_parameter",
    "name_of",
    "refuse_what_is_no_function",
    "refuse_wrong_rules",
    "signature_of",
]

annotationlib: Any = importlib.import_module("annotationlib") if sys.version_info >= (3, 14) else None
_LAZILY: dict[str, Any] = {} if annotationlib is None else {"annotation_format": annotationlib.Format.FORWARDREF}

#: Keyword arguments of `Queue.enqueue` that RQ keeps for itself, so that a parameter of that name never gets a value.
_TAKEN_BY_RQ = frozenset(
    "job_timeout description result_ttl ttl failure_ttl depends_on job_id at_front meta retry repeat on_success "  # noqa: SIM905 -- easier to read
    "on_failure on_stopped rate_limit webhooks pipeline unique args kwargs".split()
)


def refuse_what_is_no_function(function: Any) -> None:
    """Raise `DecorationError` for tasks, classes, generators, and what can't be called."""
    name = name_of(function)
    if is_task_object(function):
        raise DecorationError(
            name, "it is a task already", "Write `@app.task` above `@with_db`: the task has to be made of the wrapper."
        )
    if inspect.isclass(function):
        raise DecorationError(name, "it is a class", "Write `@with_db` above its `run` method.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DecorationError(
            name,
            "it is a generator, whose body runs after the call has returned",
            "Return a list, or write `with taskconn.lease() as db:` inside it.",
        )
    if not callable(function):
        raise DecorationError(
            name, "it is no function", "Write `@with_db`, `@with_db('alias')`, or `@with_db(handle)` above a function."
        )


def refuse_wrong_rules(function: Any, commit_on: Any, rollback_on: Any, once: Any) -> None:
    """Raise `DecorationError` for rules that would fail only when they are asked, in place of a task's exception."""
    kinds = commit_on if isinstance(commit_on, tuple) else ()
    if kinds != commit_on or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise DecorationError(
            name_of(function),
            f"commit_on={commit_on!r} is no tuple of exception classes",
            "Write `@with_db(commit_on=(Ignore,))`.",
        )
    if rollback_on is not None and (not callable(rollback_on) or inspect.iscoroutinefunction(rollback_on)):
        raise DecorationError(
            name_of(function),
            f"rollback_on={rollback_on!r} can't be asked about a returned value",
            "Write a function of one argument: `@with_db(rollback_on=lambda result: not result.ok)`.",
        )
    if getattr(function, "__taskconn_once__", False):
        raise DecorationError(
            name_of(function),
            "`once` stands on a `with_db` under this one",
            "Put the `with_db` that has `once` on top: it decides whether the others lease at all.",
        )
    if not isinstance(once, bool) and (not callable(once) or inspect.iscoroutinefunction(once)):
        raise DecorationError(
            name_of(function),
            f"once={once!r} can't be asked for a key",
            "Write `@with_db(once=True)`, or `@with_db(once=lambda order_id: order_id)`, of the caller's arguments.",
        )
    if once and commit_on:
        raise DecorationError(
            name_of(function),
            "it has `once` and `commit_on`, and an exception that commits leaves no result for a repeated delivery",
            "Return a value in the place of the exception.",
        )


def find_parameter(function: Any, signature: inspect.Signature, into: str) -> int | None:
    """
    Find where the connection goes.

    Returns:
        Its index among the positional arguments; None if it can only be passed by name.

    Raises:
        DecorationError: There is no such parameter, or nothing can be passed to it.
    """
    name = name_of(function)
    if into in _TAKEN_BY_RQ:
        raise DecorationError(
            name, f"RQ keeps the argument {into!r} for itself", 'Name the parameter otherwise: `@with_db(into="db")`.'
        )
    parameter = signature.parameters.get(into)
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        names = ", ".join([into, *(n for n in signature.parameters if n != into)])
        raise DecorationError(
            name,
            f"it has no parameter {into!r} to receive the connection",
            f'Write `def {name.rpartition(".")[2]}({names}):`, or name another one: `@with_db(into="…")`.',
        )
    if parameter.kind is parameter.KEYWORD_ONLY:
        return None
    index = list(signature.parameters).index(into)
    before = list(signature.parameters.values())[:index]
    if parameter.kind is parameter.POSITIONAL_ONLY and any(one.default is not one.empty for one in before):
        raise DecorationError(
            name,
            f"{into!r} can only be passed by its place, and what stands before it may be left out",
            f"Put {into!r} first.",
        )
    return index


def signature_of(function: Any) -> inspect.Signature:
    """Give the signature of *function*; names in its annotations need not be defined yet."""
    try:
        return inspect.signature(function, **_LAZILY)
    except ValueError:  # of C
        raise DecorationError(
            name_of(function), "it does not tell its parameters", "Write a function around it."
        ) from None


def annotations_of(function: Any) -> dict[str, Any]:
    """Give the annotations of *function* by parameter, evaluated as far as that is possible."""
    if annotationlib is not None:
        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)  # type: ignore[no-any-return]  # 3.14
    return dict(getattr(function, "__annotations__", {}))


def name_of(function: Any) -> str:
    """Name *function* with its module, for messages."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else type(function).__name__
