"""
taskconn for Celery: name this module in `imports` or `include`, and the settings in `taskconn_databases`.

Importing it opens nothing and reads no configuration that is not read already: it is imported in producers too, at
their first lease.
"""

from __future__ import annotations

from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from .. import _context
from .._registry import Registry
from . import _apps, _processes, _worker
from ._enqueue import apply_async_on_commit, delay_on_commit
from ._tasks import running_task
from ._worker import WorkerRefusedError

__all__ = ["WorkerRefusedError", "apply_async_on_commit", "delay_on_commit", "install"]


def install(app: Any, databases: Any = None) -> Registry:
    """
    Give *app* its connections, where naming this module in `imports` is not wanted.

    Args:
        app: Celery app. Its configuration is not read by this.
        databases: Alias -> URL, ``"module:attr"``, callable, or mapping with ``url`` and options; they become its
            setting `taskconn_databases`. None leaves the setting as it is.

    Returns:
        The registry that tasks of *app* lease from.

    Raises:
        ConfigurationError: Something is malformed or unknown.
    """
    return _apps.install(app, databases)


_context.register(running_task, interrupts=(SoftTimeLimitExceeded,))
_apps.watch()
_processes.connect()
_worker.connect()
