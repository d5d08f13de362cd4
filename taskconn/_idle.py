"""`max_idle`, told to the server: a worker that waits for work runs no Python that could close anything."""

from __future__ import annotations

import logging
import math
from typing import Any

from .driver import Driver

__all__ = ["tell_server"]

log = logging.getLogger("taskconn")

#: The server waits for so much longer, in seconds: until then a lease that just begins closes the connection itself.
_MARGIN_S = 1


def tell_server(alias: str, driver: Driver[Any], connection: Any, max_idle: float, timeout_s: float) -> None:
    """
    Have the server end the session of *connection* when nothing was sent for *max_idle* seconds and one more.

    It counts within a task, too: one that is silent for longer loses its connection. MySQL's ``wait_timeout`` counts
    always, PostgreSQL's ``idle_session_timeout`` (14 and newer) outside of transactions. A reset undoes it.

    Args:
        alias: Name of the connection, for the log.
        driver: Its driver; one without a `dialect`, or with SQLite's, has no server to tell.
        connection: Where nothing is open.
        max_idle: Seconds.
        timeout_s: Longest wait for the server, in seconds.

    Raises:
        driver.errors: The connection was lost on the way; one that stays open and has refused is left as it is.
    """
    seconds = math.ceil(max_idle) + _MARGIN_S
    statement = {
        "mysql": f"SET SESSION wait_timeout = {seconds}",
        "postgresql": f"SET SESSION idle_session_timeout = {seconds * 1000}",
    }.get(driver.dialect)
    if statement is None:
        return
    try:
        driver.ask(connection, statement, timeout_s)
    except driver.errors as error:
        if not driver.is_open(connection) or driver.has_pending_reply(connection):
            raise
        log.debug("connection %r: the server was not told of `max_idle`: %s", alias, error)
