"""`with_db`: the decorator that leases a connection for each call of a function and passes it in."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from ._context import current_task, is_task_object
from ._injection_types import DbFirst, DbSecond, DbThird, Injector, InjectorInto, TypedInjector
from ._lease import Lease
from ._registry import Handle
from .errors import DecorationError

__all__ = ["injected_aliases", "is_async_injected", "with_db"]

annotationlib: Any = importlib.import_module("annotationlib") if sys.version_info >= (3, 14) else None
_LAZILY: dict[str, Any] = {} if annotationlib is None else {"annotation_format": annotationlib.Format.FORWARDREF}

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

#: Keyword arguments of `Queue.enqueue` that RQ keeps for itself, so that a parameter of that name never gets a value.
_TAKEN_BY_RQ = frozenset(
    "job_timeout description result_ttl ttl failure_ttl depends_on job_id at_front meta retry repeat on_success "  # noqa: SIM905 -- easier to read
    "on_failure on_stopped rate_limit webhooks pipeline unique args kwargs".split()
)


@overload
def with_db(alias: DbFirst[Any, P, R], /) -> Callable[P, R]: ...
@overload
def with_db(alias: DbSecond[R], /) -> Callable[..., R]: ...
@overload
def with_db(alias: DbThird[R], /) -> Callable[..., R]: ...
@overload
def with_db(alias: Handle[C], /, *, commit_on: tuple[type[BaseException], ...] = ()) -> TypedInjector[C]: ...
@overload
def with_db(alias: str = "default", /, *, commit_on: tuple[type[BaseException], ...] = ()) -> Injector: ...
@overload
def with_db(
    alias: str | Handle[Any] = "default", /, *, into: str, commit_on: tuple[type[BaseException], ...] = ()
) -> InjectorInto: ...
def with_db(alias: Any = "default", /, *, into: str = "db", commit_on: tuple[type[BaseException], ...] = ()) -> Any:
    """
    Lease a connection for each call, and settle it as the call ends: commit if it returns, roll back if it raises.

    The caller does not see the parameter: the signature is the one without it. ``__wrapped__`` is the plain
    function, for tests. Under `@app.task`, never over it. Type checkers find ``db`` among the first three parameters;
    elsewhere write ``into="db"``.

    Args:
        alias: Name or handle of the connection; the function itself where the decorator is written bare.
        into: Parameter that receives the connection.
        commit_on: Exceptions that commit although they are raised, such as Celery's ``Ignore``.

    Raises:
        DecorationError: The function has no such parameter, or is none that can be wrapped.

    Calls raise what `Lease.begin` and `Lease.succeed` raise, before and after the function's own.
    """
    # is_task_object() first: isinstance() would evaluate a lazy task, and register it under the wrong function.
    if not is_task_object(alias) and isinstance(alias, str | Handle):
        return functools.partial(_decorate, alias=alias, into=into, commit_on=commit_on)
    return _decorate(alias, alias="default", into=into, commit_on=commit_on)


def injected_aliases(function: Any) -> list[str | Handle[Any]]:
    """List the aliases that `with_db` passes into *function*, outermost first; empty if it is not decorated."""
    return list(getattr(function, "__taskconn_aliases__", ()))


def is_async_injected(function: Any) -> bool:
    """Tell whether *function* is decorated and a coroutine function, which Celery would never await."""
    return bool(injected_aliases(function)) and inspect.iscoroutinefunction(function)


def _decorate(function: Any, *, alias: str | Handle[Any], into: str, commit_on: tuple[type[BaseException], ...]) -> Any:
    if not is_task_object(function) and isinstance(function, staticmethod | classmethod):
        inner = _decorate(function.__func__, alias=alias, into=into, commit_on=commit_on)
        return type(function)(inner)
    _refuse_what_is_no_function(function)
    signature = _signature(function)
    index = _find_parameter(function, signature, into)
    wrap = _async_wrapper if inspect.iscoroutinefunction(function) else _sync_wrapper
    wrapper = wrap(function, alias, into, index, commit_on)
    functools.update_wrapper(wrapper, function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name != into]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's protocol
    wrapper.__annotations__ = {name: note for name, note in _annotations(function).items() if name != into}
    wrapper.__wrapped__ = getattr(function, "__wrapped__", function) if injected_aliases(function) else function  # type: ignore[attr-defined]  # functools' protocol
    wrapper.__taskconn_aliases__ = [alias, *injected_aliases(function)]  # type: ignore[attr-defined]  # ours
    return wrapper


def _sync_wrapper(
    function: Callable[..., Any], alias: str | Handle[Any], into: str, index: int | None, commit_on: Any
) -> Callable[..., Any]:
    holder = _name(function)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if into in kwargs:
            raise TypeError(_already_injected(holder, into))
        task = current_task()
        lease: Lease[Any] = Lease(alias, holder)
        try:
            connection = lease.begin(task)
            if index == 0:
                result = function(connection, *args, **kwargs)
            elif index is None or len(args) < index:
                kwargs[into] = connection
                result = function(*args, **kwargs)
            else:
                result = function(*args[:index], connection, *args[index:], **kwargs)
            lease.succeed(commits=task is None or task.returns_commit is None or task.returns_commit(result))
        except BaseException as exception:
            _end(lease, exception, commit_on)
            raise
        return result

    return wrapper


def _async_wrapper(
    function: Callable[..., Any], alias: str | Handle[Any], into: str, index: int | None, commit_on: Any
) -> Callable[..., Any]:
    holder = _name(function)

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if into in kwargs:
            raise TypeError(_already_injected(holder, into))
        task = current_task()
        lease: Lease[Any] = Lease(alias, holder)
        try:
            connection = lease.begin(task)
            if index is None or len(args) < index:
                kwargs[into] = connection
                result = await function(*args, **kwargs)
            else:
                result = await function(*args[:index], connection, *args[index:], **kwargs)
            lease.succeed(commits=task is None or task.returns_commit is None or task.returns_commit(result))
        except BaseException as exception:
            _end(lease, exception, commit_on)
            raise
        return result

    return wrapper


def _end(lease: Lease[Any], exception: BaseException, commit_on: tuple[type[BaseException], ...]) -> None:
    """End a lease whose function raised; nothing is left to do if the settling itself raised."""
    if not lease.is_open:
        return
    if not isinstance(exception, commit_on) or lease.is_tainted:
        lease.fail(exception)
        return
    try:
        lease.succeed()
    except BaseException as interrupt:
        if lease.is_open:
            lease.fail(interrupt)
        raise


def _refuse_what_is_no_function(function: Any) -> None:
    name = _name(function)
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


def _find_parameter(function: Any, signature: inspect.Signature, into: str) -> int | None:
    """
    Find where the connection goes.

    Returns:
        Its index among the positional arguments; None if it can only be passed by name.
    """
    name = _name(function)
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


def _already_injected(holder: str, into: str) -> str:
    return (
        f"{holder}() got an argument {into!r}, which `with_db` passes in itself. "
        f"Leave it out; a test calls `{holder.rpartition('.')[2]}.__wrapped__(...)` with a connection of its own."
    )


def _signature(function: Any) -> inspect.Signature:
    try:
        return inspect.signature(function, **_LAZILY)
    except ValueError:  # of C
        raise DecorationError(
            _name(function), "it does not tell its parameters", "Write a function around it."
        ) from None


def _annotations(function: Any) -> dict[str, Any]:
    if annotationlib is not None:
        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)  # type: ignore[no-any-return]  # 3.14
    return dict(getattr(function, "__annotations__", {}))


def _name(function: Any) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else type(function).__name__
