"""`once`: a function's work is done once, however often its task is delivered; the ledger is kept in `_ledger.py`."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from . import _ledger
from ._context import TaskContext, current_task, find_pool
from ._ledger import Entry
from ._registry import Handle
from ._work import active_work
from .errors import (
    LedgerDialectError,
    ManualSettlementError,
    OnceLostError,
    OnceRefusedError,
    OnceResultError,
    OnceUnfinishedError,
)

__all__ = ["Key", "do_once"]

#: What `once` may be: True for the running task, or what makes a key of the caller's arguments.
Key = bool | Callable[..., object]


def do_once(
    function: Callable[..., Any], name: str, alias: str | Handle[Any], into: str, key: Key, fails: Callable[..., bool]
) -> Callable[..., Any]:
    """
    Wrap *function*, which gets a connection from a lease that has just begun.

    Args:
        function: Function, or coroutine function, to be called the first time.
        name: Its name, a part of the entry's identity.
        alias: Connection that it gets.
        into: Parameter that receives it.
        key: See `Key`.
        fails: Says of the running task and a returned value whether the lease will be rolled back for it.
    """
    signature = inspect.signature(function)

    def claim(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Claim | None:
        return _claim(function, name, alias, key, lambda: _without(signature, into, args, kwargs))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        claimed = claim(args, kwargs)
        if claimed is None:
            return function(*args, **kwargs)
        with claimed:
            if not claimed.is_first:
                return claimed.result
            result = function(*args, **kwargs)
            if not fails(claimed.task, result):
                claimed.record(result)
            return result

    @functools.wraps(function)
    async def wait(*args: Any, **kwargs: Any) -> Any:
        claimed = claim(args, kwargs)
        if claimed is None:
            return await function(*args, **kwargs)
        with claimed:
            if not claimed.is_first:
                return claimed.result
            result = await function(*args, **kwargs)
            if not fails(claimed.task, result):
                claimed.record(result)
            return result

    return wait if inspect.iscoroutinefunction(function) else call


class _Claim:
    """
    Hold an entry for as long as the function runs; meanwhile only the lease may settle.

    Attributes:
        task: The running task.
        is_first: The function has to be called; else `result` is what it returned the first time.
    """

    def __init__(self, entry: Entry, driver: Any, pooled: Any, alias: str, task: TaskContext | None) -> None:
        self.task = task
        self._entry, self._driver, self._pooled, self._alias = entry, driver, pooled, alias
        text, repeats = _ledger.claim(driver, pooled.connection, alias, entry)
        if text is None and repeats:
            raise OnceUnfinishedError(entry.name, entry.key, entry.digest)
        self.is_first = text is None
        self.result = None if text is None else json.loads(text)

    def __enter__(self) -> None:
        session = self._pooled.session
        if session.refusal is None:
            session.refusal = self._refuse

    def __exit__(self, *_: object) -> None:
        session = self._pooled.session
        if session.refusal == self._refuse:
            session.refusal = None

    def record(self, result: object) -> None:
        """
        Write down what the function returned.

        Raises:
            OnceResultError: It can't be JSON.
            OnceLostError: The entry has gone, and so has what was done before that.
        """
        try:
            text = json.dumps(result)
        except (TypeError, ValueError, RecursionError) as error:
            raise OnceResultError(self._entry.name, type(result).__qualname__, str(error)) from error
        if not _ledger.keep(self._driver, self._pooled.connection, self._entry, text):
            raise OnceLostError(self._entry.name, self._entry.key)

    def _refuse(self, verb: str) -> None:
        reason = (
            "the task is to be done once: its entry in the ledger has to be committed together with all of its work"
        )
        raise ManualSettlementError(self._alias, verb, reason)


def _claim(
    function: Callable[..., Any],
    name: str,
    alias: str | Handle[Any],
    key: Key,
    arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
) -> _Claim | None:
    """
    Claim the entry of this execution in the lease that is open; None for a test's own object in the alias's place.

    Raises:
        OnceRefusedError: Nothing tells this execution from others, or it has no transaction.
        LedgerDialectError: There is no ledger in such a database.
    """
    task = current_task()
    pool = find_pool(alias, task)
    if pool.driver.is_stand_in:
        return None
    work = active_work(task)
    lease = None if work is None else work.root(pool)
    if lease is None:
        raise OnceRefusedError(name, "its lease has ended before it began", "Report this: it is a fault of taskconn's.")
    if pool.options.transaction == "none":
        remedy = "Leave `transaction` as it is for this alias, or make the task safe to repeat by yourself."
        raise OnceRefusedError(
            name, f"the alias {pool.alias!r} has transaction='none', so entry and work are two", remedy
        )
    if not pool.driver.dialect:
        raise LedgerDialectError(pool.alias, "no SQL", ", ".join(_ledger.DIALECTS))
    if not pool.driver.transactional:
        remedy = "Give the task a session or a connection: `inject='session'`."
        raise OnceRefusedError(name, f"what the alias {pool.alias!r} gives is settled by the task itself", remedy)
    if key is True:
        identity = _key_of_task(function, name, task)
    else:
        args, kwargs = arguments()
        identity = _key_of_user(name, key(*args, **kwargs))  # type: ignore[operator]  # False never gets here
    return _Claim(Entry(name, identity), pool.driver, lease._pooled, pool.alias, task)  # noqa: SLF001 -- a part of its lease


def _key_of_task(function: Callable[..., Any], name: str, task: TaskContext | None) -> str:
    """Give the id of the running task and its repetition, if *function* is what the task system has called."""
    remedy = "Say what is to be done once: `@with_db(once=lambda *args, **kwargs: key)`, of the caller's arguments."
    if task is None:
        raise OnceRefusedError(name, "it was called outside of tasks, where no id tells one call from another", remedy)
    entry = None if task.entry is None else task.entry()
    if entry is None or _plain(entry) is not _plain(function):
        raise OnceRefusedError(
            name,
            f"it was called by the task {task.name}, of which it is only a part: the task's id is not its own",
            remedy,
        )
    if not task.task_id:
        raise OnceRefusedError(name, "the running task has no id", remedy)
    return f"{task.system}:{task.task_id}:{task.repetition}"


def _key_of_user(name: str, key: object) -> str:
    if not isinstance(key, str | int) or isinstance(key, bool) or key == "":
        remedy = "Let it give a string or an integer that is the same each time this is to be done only once."
        raise OnceRefusedError(name, f"the function of `once` has given {type(key).__name__} for a key", remedy)
    return f"key:{key}"


def _plain(function: Any) -> Any:
    """Give the function that stands behind decorators and methods."""
    while True:
        inner = getattr(function, "__func__", None) or getattr(function, "__wrapped__", None)
        if inner is None:
            return function
        function = inner


def _without(
    signature: inspect.Signature, into: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give the caller's arguments: without the connection."""
    if into in kwargs:
        return args, {name: value for name, value in kwargs.items() if name != into}
    index = list(signature.parameters).index(into)
    return args[:index] + args[index + 1 :], kwargs
