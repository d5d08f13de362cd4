"""What is known before a COMMIT is sent: that it would be answered by ROLLBACK, or would keep a part alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ..._server_errors import undone_words
from ...driver import Peek, peek
from ._libraries import Library

__all__ = ["refuse_halves"]


class _Guard(Protocol):
    """What has to be known of a connection."""

    raw: Any
    pending: bool
    undone: int

    @property
    def has_sockets(self) -> bool: ...
    def sockets(self) -> Iterable[int]: ...
    def cut(self) -> None: ...


def refuse_halves(guard: _Guard, library: Any, facts: Library) -> None:
    """
    Refuse a COMMIT that can't be what was asked for.

    Args:
        guard: Of the connection.
        library: The DBAPI library, for its errors.
        facts: What is known of it.

    Raises:
        library.Error: The session has gone, and perhaps the library has begun another one by itself; or the server has
            rolled back what was sent. Nothing has been sent.
    """
    found = list(guard.sockets())
    if guard.pending or (guard.has_sockets and all(peek([fd]) is Peek.DEAD for fd in found)):
        guard.cut()
        raise library.OperationalError("the session in which this was begun was lost; COMMIT was not sent")
    if facts.failed(guard.raw):
        words = "a statement failed and its error was swallowed, so the server can only roll back; COMMIT was not sent"
        raise library.InternalError(words)
    if guard.undone:
        raise library.OperationalError(undone_words(guard.undone))
