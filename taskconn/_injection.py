"""`with_db`: the decorator that leases a connection for each call of a function and passes it in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

from ._context import TaskContext, current_task, is_task_object
from ._injection_types import DbFirst, DbSecond, DbThird, Injector, InjectorInto, TypedInjector
from ._lease import Lease
from ._registry import Handle

__all__ = ["injected_aliases", "is_async_injected", "with_db"]

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

#: Exceptions that a function raises.
Raised = tuple[type[BaseException], ...]
#: What says of a function's returned value that it means failure.
Returned = Callable[[Any], object]


class _Rules(NamedTuple):
    """Say what commits or rolls back otherwise than it would; see `with_db`."""

    commit_on: Raised
    rollback_on: Returned | None
    once: bool | Callable[..., object]

    def fails(self, task: TaskContext | None, result: object) -> bool:
        """Tell whether a returned value means failure, so that the lease is rolled back."""
        is_success = task is None or task.returns_commit is None or task.returns_commit(result)
        return not is_success or (self.rollback_on is not None and bool(self.rollback_on(result)))


@overload
def with_db(alias: DbFirst[Any, P, R], /) -> Callable[P, R]: ...
@overload
def with_db(alias: DbSecond[R], /) -> Callable[..., R]: ...
@overload
def with_db(alias: DbThird[R], /) -> Callable[..., R]: ...
@overload
def with_db(
    alias: Handle[C],
    /,
    *,
    commit_on: Raised = (),
    rollback_on: Returned | None = None,
    once: bool | Callable[..., object] = False,
) -> TypedInjector[C]: ...
@overload
def with_db(
    alias: str = "default",
    /,
    *,
    commit_on: Raised = (),
    rollback_on: Returned | None = None,
    once: bool | Callable[..., object] = False,
) -> Injector: ...
@overload
def with_db(
    alias: str | Handle[Any] = "default",
    /,
    *,
    into: str,
    commit_on: Raised = (),
    rollback_on: Returned | None = None,
    once: bool | Callable[..., object] = False,
) -> InjectorInto: ...
def with_db(
    alias: Any = "default",
    /,
    *,
    into: str = "db",
    commit_on: Raised = (),
    rollback_on: Returned | None = None,
    once: bool | Callable[..., object] = False,
) -> Any:
    """
    Lease a connection for each call, and settle it as the call ends: commit if it returns, roll back if it raises.

    The caller does not see the parameter: the signature is the one without it. ``__wrapped__`` is the plain
    function, for tests. Under `@app.task`, never over it. Type checkers find ``db`` among the first three parameters;
    elsewhere write ``into="db"``.

    Args:
        alias: Name or handle of the connection; the function itself where the decorator is written bare.
        into: Parameter that receives the connection.
        commit_on: Exceptions that commit although they are raised, such as Celery's ``Ignore``.
        rollback_on: Says of what the function returned whether it means failure: ``lambda result: not result.ok``. Then
            it is rolled back, and returned all the same. In a lease inside another one it has the outer one fail.
        once: True does the running task's work once, however often it is delivered: its id is written to a ledger in
            the task's own transaction, and when it comes again the function is not called, and what it returned the
            first time is returned (stored as JSON). A function of the caller's arguments gives a key of one's own, a
            string or an integer. See docs/once.md.

    Raises:
        DecorationError: The function has no such parameter, or is none that can be wrapped.

    Calls raise what `Lease.begin` and `Lease.succeed` raise, before and after the function's own.
    """
    # is_task_object() first: isinstance() would evaluate a lazy task, and register it under the wrong function.
    if not is_task_object(alias) and isinstance(alias, str | Handle):
        return functools.partial(_decorate, alias=alias, into=into, rules=_Rules(commit_on, rollback_on, once))
    return _decorate(alias, alias="default", into=into, rules=_Rules(commit_on, rollback_on, once))


def injected_aliases(function: Any) -> list[str | Handle[Any]]:
    """List the aliases that `with_db` passes into *function*, outermost first; empty if it is not decorated."""
    return list(getattr(function, "__taskconn_aliases__", ()))


def is_async_injected(function: Any) -> bool:
    """Tell whether *function* is decorated and a coroutine function, which Celery would never await."""
    import inspect  # noqa: PLC0415 -- see `_decorate`

    return bool(injected_aliases(function)) and inspect.iscoroutinefunction(function)


def _decorate(function: Any, *, alias: str | Handle[Any], into: str, rules: _Rules) -> Any:
    import inspect  # noqa: PLC0415 -- a sixth of `import taskconn`, for those who decorate

    from . import _signatures  # noqa: PLC0415 -- as above

    if not is_task_object(function) and isinstance(function, staticmethod | classmethod):
        inner = _decorate(function.__func__, alias=alias, into=into, rules=rules)
        return type(function)(inner)
    _signatures.refuse_what_is_no_function(function)
    _signatures.refuse_wrong_rules(function, *rules)
    signature = _signatures.signature_of(function)
    index = _signatures.find_parameter(function, signature, into)
    wrap = _async_wrapper if inspect.iscoroutinefunction(function) else _sync_wrapper
    name, called = _signatures.name_of(function), function
    if rules.once:
        from ._once import do_once  # noqa: PLC0415 -- as above

        called = do_once(function, name, alias, into, rules.once, rules.fails)
    wrapper = wrap(called, name, alias, into, index, rules)
    functools.update_wrapper(wrapper, function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name != into]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's protocol
    annotations = _signatures.annotations_of(function)
    wrapper.__annotations__ = {name: note for name, note in annotations.items() if name != into}
    wrapper.__wrapped__ = getattr(function, "__wrapped__", function) if injected_aliases(function) else function  # type: ignore[attr-defined]  # functools' protocol
    wrapper.__taskconn_once__ = bool(rules.once)  # type: ignore[attr-defined]  # ours
    wrapper.__taskconn_aliases__ = [alias, *injected_aliases(function)]  # type: ignore[attr-defined]  # ours
    return wrapper


def _sync_wrapper(
    function: Callable[..., Any],
    holder: str,
    alias: str | Handle[Any],
    into: str,
    index: int | None,
    rules: _Rules,
) -> Callable[..., Any]:
    commit_on, rollback_on, _ = rules

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
            is_success = task is None or task.returns_commit is None or task.returns_commit(result)
            lease.succeed(commits=is_success and (rollback_on is None or not rollback_on(result)))
        except BaseException as exception:
            try:
                _end(lease, exception, commit_on)
            except BaseException as interrupt:  # on the way into `_end`, perhaps: a later lease would join this one
                if lease.is_open:
                    lease.fail(interrupt)
                raise
            raise
        return result

    return wrapper


def _async_wrapper(
    function: Callable[..., Any],
    holder: str,
    alias: str | Handle[Any],
    into: str,
    index: int | None,
    rules: _Rules,
) -> Callable[..., Any]:
    commit_on, rollback_on, _ = rules

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
            is_success = task is None or task.returns_commit is None or task.returns_commit(result)
            lease.succeed(commits=is_success and (rollback_on is None or not rollback_on(result)))
        except BaseException as exception:
            try:
                _end(lease, exception, commit_on)
            except BaseException as interrupt:  # on the way into `_end`, perhaps: a later lease would join this one
                if lease.is_open:
                    lease.fail(interrupt)
                raise
            raise
        return result

    return wrapper


def _end(lease: Lease[Any], exception: BaseException, commit_on: Raised) -> None:
    """End a lease whose function raised; nothing is left to do if the settling itself raised."""
    if not lease.is_open:
        return
    if not isinstance(exception, commit_on) or lease.is_tainted:
        lease.fail(exception)
        return
    lease.succeed()


def _already_injected(holder: str, into: str) -> str:
    return (
        f"{holder}() got an argument {into!r}, which `with_db` passes in itself. "
        f"Leave it out; a test calls `{holder.rpartition('.')[2]}.__wrapped__(...)` with a connection of its own."
    )
