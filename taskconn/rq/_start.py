"""What happens before jobs run: settings are checked as a worker starts, ``warm`` connections opened before a job."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from .. import _guard
from .._process import getpid
from .._registry import process_registry
from .._warmup import warm_up
from ..errors import ConfigurationError, ForkRefusedError
from . import _settings

__all__ = ["check", "open_early"]

log = logging.getLogger("taskconn")

#: This process has looked for what is to be opened early.
_has_searched = False


def check(further: Callable[[], object], *, is_forking: bool) -> None:
    """
    Read the settings, import every driver; a server is not asked, so that a worker starts while its database is down.

    Args:
        further: Checks what is the worker's own.
        is_forking: Horses will be forked: the guard may refuse that now, before a job is taken.

    Raises:
        ConfigurationError: Settings are malformed, or a driver is missing.
        ForkRefusedError: The guard's mode is ``raise``, and a connection is open.
        SystemExit: The same, within the ``rq`` command, which would print a traceback.
    """
    global _has_searched  # noqa: PLW0603 -- see `open_early`
    try:
        _settings.load()
        further()
        process_registry.check()
        _has_searched = True
        _guard.start_worker(*_settings.guard())
        if is_forking:
            _guard.check()
    except (ConfigurationError, ForkRefusedError) as error:
        command = _settings.command_name()
        if command is None:
            raise
        words = f"taskconn: this worker can't start.\n{error}"
        if command == "worker-pool":
            sys.stderr.write(f"{words}\n")  # now: the pool ends its workers before they could say it
            sys.stderr.flush()
            _stop_pool()
            raise SystemExit(1) from None
        raise SystemExit(words) from None


def open_early() -> None:
    """
    Open what is to be ``warm``, in the process that runs the job; what fails is logged, the lease will say it.

    All aliases were found when the worker started, or when its first job did: it takes as long as ten leases.
    """
    global _has_searched  # noqa: PLW0603 -- of this process, and of those that it forks
    if _has_searched:
        pools = [pool for pool in process_registry.pools() if pool.options.warm]
        if pools:
            warm_up(process_registry, [pool.alias for pool in pools])
        return
    try:
        _settings.load()  # a spawned horse has not read them yet
    except Exception:
        log.exception("the settings of process %d can't be read; its jobs have no connections", getpid())
    else:
        _has_searched = True
        warm_up(process_registry)


def _stop_pool() -> None:
    """Tell ``rq worker-pool`` to end: it would start a worker that can't start again and again, each second."""
    pool = multiprocessing.parent_process()
    if pool is not None and pool.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pool.pid, signal.SIGTERM)
