"""What is known before a COMMIT is sent: that it would be answered by ROLLBACK, or would keep a part alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..._descriptors import present
from ..._process import Socket
from ..._server_errors import is_undone, note_undone, number_of, undone_words
from ...driver import Peek, peek, run
from ._libraries import Library

__all__ = ["note_halves", "refuse_halves"]


class _Guard(Protocol):
    """What has to be known of a connection."""

    raw: Any
    pending: bool
    undone: int

    @property
    def sent(self) -> int: ...
    @sent.setter
    def sent(self, count: int) -> None: ...
    def cut(self) -> None: ...


def note_halves(guard: _Guard, error: BaseException, *, was_open: bool, is_open: bool | None) -> None:
    """Note it if *error*, of a statement, has undone all before it; the library may tell by its transaction's end."""
    if was_open and is_open is False:
        guard.undone = number_of(error)
    else:
        note_undone(guard, error)


def refuse_halves(guard: _Guard, sockets: Sequence[Socket], library: Any, facts: Library) -> None:
    """
    Refuse a COMMIT that can't be what was asked for.

    Args:
        guard: Of the connection.
        sockets: That were found when it was opened.
        library: The DBAPI library, for its errors.
        facts: What is known of it.

    Raises:
        library.Error: The session has gone, and perhaps the library has begun another one by itself; or the server has
            rolled back what was sent. Nothing has been sent.
    """
    if guard.pending or (sockets and all(peek([fd]) is Peek.DEAD for fd in present(sockets))):
        guard.cut()
        raise library.OperationalError("the session in which this was begun was lost; COMMIT was not sent")
    if facts.failed(guard.raw):
        words = "a statement failed and its error was swallowed, so the server can only roll back; COMMIT was not sent"
        raise library.InternalError(words)
    if guard.undone and is_undone(guard, lambda question: run(guard.raw.cursor(), question, ())[0]):
        raise library.OperationalError(undone_words(guard.undone))
