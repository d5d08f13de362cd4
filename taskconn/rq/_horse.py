"""The end of a work horse: a goodbye to its servers, bounded in time, before RQ leaves by ``os._exit``."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress

from .. import _leftovers
from .._process import getpid

__all__ = ["say_goodbye"]

log = logging.getLogger("taskconn")


def say_goodbye(exit_status: int) -> None:
    """
    Roll back what the job left open, and close every connection. Raises nothing.

    RQ has stored the result, and limits nothing any more: no alarm is armed, and the worker kills a horse only a minute
    after its job's timeout. So a thread ends the process if a client hangs.

    Args:
        exit_status: What RQ would leave with. With any other, it would call a job failed that it has just put back.
    """
    try:
        _ignore_alarms()
        _leftovers.end_process(or_else=lambda: os._exit(exit_status))
    except BaseException:  # an alarm that came before it was ignored
        log.debug("the goodbye of process %d was cut short", getpid(), exc_info=True)


def _ignore_alarms() -> None:
    """
    Ignore what RQ would raise in the middle of the goodbye.

    Source:
        rq 3.0.0, `HerokuWorker.request_stop_sigrtmin`: SIGRTMIN, then SIGALRM raise wherever the horse is.
    """
    for name in ("SIGALRM", "SIGRTMIN"):
        number = getattr(signal, name, None)
        if number is not None:
            with suppress(ValueError):  # not in the main thread: a worker of somebody's own
                signal.signal(number, signal.SIG_IGN)
