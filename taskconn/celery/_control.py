"""`celery -A app control taskconn_recycle`: what an operator may ask a running worker."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.control import control_command

from .. import _process
from .._generation import advance

__all__ = ["recycle"]

log = logging.getLogger("taskconn")


@control_command(name="taskconn_recycle")
def recycle(state: Any) -> dict[str, str]:  # noqa: ARG001 -- Celery gives the worker's state to each command
    """Replace every connection of the worker and its children at its next safe moment."""
    advance()
    log.info("connections of worker %d are replaced at their next safe moment", _process.getpid())
    return {"ok": "connections are replaced at their next safe moment"}
