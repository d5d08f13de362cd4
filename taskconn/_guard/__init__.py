"""
Find the connections that would cross a fork. This file turns the guard on; the others are imported when it is on.

`_clients` lists live sockets, `_origins` and `_trace` note where they are opened, `_stacks` reads such a note,
`_holders` searches what holds them and `_bindings` its line, `_known` sets aside who minds forks itself, `_libraries`
is data, `_modes` acts at the fork, `_fence` is what children get.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..options import GuardMode

__all__ = ["ALLOW", "MODE", "begin_early", "check", "guard", "start_worker", "trace", "worker_is_ready"]

#: What the environment and RQ call the settings; Celery's are the same in lower case.
MODE = "TASKCONN_GUARD"
ALLOW = "TASKCONN_GUARD_ALLOW"

#: Mode in workers that taskconn is installed in, if nobody says another.
DEFAULT: GuardMode = "warn"


class _Said:
    """Remember what code has said: settings that are read later do not win over it."""

    by_code = False


def guard(mode: GuardMode = "warn", *, allow: Iterable[str] = ()) -> None:
    """
    Look for connections that are open when this process forks, from now on; in its children too.

    Those of taskconn, of Celery, RQ and multiprocessing themselves are left alone. Children never use the others: two
    processes on one connection read each other's replies.

    Args:
        mode: ``"warn"`` reports each of them once, with the line that opened it. ``"raise"`` refuses the fork.
            ``"fence"`` puts a dead socket in its place in the child, so that using it is a lost connection. ``"off"``
            does not look.
        allow: Those that may cross: addresses (``"db:3306"``), files (``"shop/db.py"``) or lines (``"shop/db.py:12"``).

    Raises:
        GuardSettingError: There is no such mode.
    """
    _set(mode, allow)
    _Said.by_code = True


def trace() -> None:
    """Note where connections are opened, by clients in C too; what is done with that is said later."""
    from . import _origins, _trace  # noqa: PLC0415 -- most processes that import taskconn never fork

    _origins.begin()
    _trace.allow()


def begin_early(arguments: Sequence[str] | None = None) -> None:
    """
    Begin as taskconn is imported, where the environment asks for it, or in the commands that start workers.

    A worker reads its settings later; where its modules open connections is noted from now on.
    """
    said = os.environ.get(MODE, "").strip()
    if said:
        _set(said, os.environ.get(ALLOW))
    if said.lower() != "off" and (said or _is_worker(sys.argv if arguments is None else arguments)):
        trace()


def start_worker(mode: Any = None, allow: Any = None, *, when_refused: Callable[[], object] | None = None) -> None:
    """
    Begin in a worker, with its settings.

    Args:
        mode: What the task system's settings say; None leaves it to the environment, and that to `DEFAULT`.
        allow: The same for what may cross.
        when_refused: Called when a fork is refused, beside the error: the task system may swallow that.

    Raises:
        GuardSettingError: There is no such mode.
    """
    from ._modes import the_guard  # noqa: PLC0415 -- most processes that import taskconn never fork

    the_guard.when_refused = when_refused
    if not _Said.by_code:
        said = mode if mode is not None else os.environ.get(MODE, "").strip() or DEFAULT
        _set(said, allow if allow is not None else os.environ.get(ALLOW))


def check() -> None:
    """
    Look now, before a fork, if forks would be refused.

    Raises:
        ForkRefusedError: A connection is open that would cross it, and the mode is ``raise``.
    """
    from ._modes import the_guard  # noqa: PLC0415 -- most processes that import taskconn never fork

    if the_guard.mode == "raise":
        the_guard.refuse()


def worker_is_ready() -> None:
    """End the trace of calls: a worker's tasks run at full speed."""
    from . import _trace  # noqa: PLC0415 -- most processes that import taskconn never fork

    _trace.end()


def _set(mode: Any, allow: Any) -> None:
    from ._modes import mode_named, the_guard  # noqa: PLC0415 -- most processes that import taskconn never fork

    words = allow.split(",") if isinstance(allow, str) else allow or ()
    the_guard.set(mode_named(mode), [str(word).strip() for word in words if str(word).strip()])


def _is_worker(arguments: Sequence[str]) -> bool:
    """Tell by the command line whether this process becomes a worker: ``celery ... worker``, ``rq worker-pool``, ..."""
    if not arguments or not any(word in {"worker", "worker-pool"} for word in arguments[1:]):
        return False
    path = arguments[0].replace(os.sep, "/").split("/")  # `pathlib` takes longer to import than all of this
    names = path[-3:] if path[-1] == "__main__.py" else path[-1:]
    return not {"celery", "rq", "rqworker"}.isdisjoint(names)
