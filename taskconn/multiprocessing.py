"""
multiprocessing and concurrent.futures: an initializer that opens eagerly and closes politely. It may be left out.

Without it connections open when first used, and close when a child ends by itself.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from multiprocessing import util
from typing import Any, NoReturn

from . import _leftovers
from ._process import getpid
from ._registry import process_registry
from ._warmup import warm_up
from .config import Databases
from .errors import ConfigurationError

__all__ = ["initializer"]

log = logging.getLogger("taskconn")

#: Rank among multiprocessing's finalizers: just before that which closes the connections (`_process.arm_exit`).
_BEFORE_GOODBYE = 101

#: Longest end of a child that was told twice to end, in seconds.
_END_S = 2.0


def initializer(databases: Mapping[str, Any] | Databases | None = None, *, warm: bool | Iterable[str] = True) -> None:
    """
    Prepare a child: ``Pool(4, initializer=taskconn.multiprocessing.initializer, initargs=(DATABASES,))``.

    It raises nothing, for `multiprocessing.Pool` would start children without end: malformed settings are logged, and
    each lease raises what is wrong with them. A server that is down is logged too.

    ``with Pool(...)`` and `Pool.terminate` end children by SIGTERM: it is caught, so that connections are closed before
    the process ends by it. Children whose SIGTERM has a handler of its own keep that.

    Args:
        databases: Alias -> settings, as for `taskconn.configure`; a spawned child gets them pickled. None leaves the
            settings to `configure` in a module that the child imports, or to the environment.
        warm: Open one connection of each alias now (True), of the named ones, or none beyond those with the option
            ``warm`` (False).
    """
    if databases is not None:
        _configure(databases)
    _close_at_sigterm()
    if warm is True:
        warm_up(process_registry, process_registry.aliases())
    else:
        warm_up(process_registry, warm or None)


def _configure(databases: Any) -> None:
    """Take over *databases*; where they are malformed, every lease of their aliases raises what is wrong."""
    try:
        process_registry.configure(databases)
    except ConfigurationError as error:
        log.error("process %d has no connections: %s", getpid(), error)  # noqa: TRY400 -- the message says it all
        refusal = error

        def refuse() -> NoReturn:
            raise refusal

        aliases = list(databases) if isinstance(databases, Mapping | Databases) else ["default"]
        process_registry.configure({alias: {"url": refuse} for alias in aliases})


def _close_at_sigterm() -> None:
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)
        util.Finalize(None, _defer_sigterm, exitpriority=_BEFORE_GOODBYE)


def _leave(number: int, _frame: object) -> None:
    """Say goodbye, and end by the signal as if nobody had caught it."""
    signal.signal(number, signal.SIG_DFL)
    _leftovers.end_process(or_else=_kill_oneself)
    signal.raise_signal(number)


def _defer_sigterm() -> None:
    """
    Let the goodbye of an ordinary end be said.

    1. `Pool.terminate` first tells its children to end, 2. the child begins to say goodbye, 3. SIGTERM comes in the
    middle of it: dying there would be the very end without a goodbye that the signal is caught for.
    """
    if signal.getsignal(signal.SIGTERM) is _leave:
        signal.signal(signal.SIGTERM, _leave_soon)


def _leave_soon(_number: int, _frame: object) -> None:
    """Give the end that is under way its time."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    watchdog = threading.Timer(_END_S, _kill_oneself)
    watchdog.daemon = True
    watchdog.start()


def _kill_oneself() -> None:
    os.kill(getpid(), signal.SIGTERM)
