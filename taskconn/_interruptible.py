"""A connection class that may be interrupted, for drivers: whose process it is, and what is in flight."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from ._interrupts import strikes
from ._process import getpid, me, unforked
from ._server_errors import hear_limit, note_undone
from .driver import Session
from .errors import InheritedConnectionError, TaintedConnectionError

__all__ = ["Interruptible", "guarded_class"]

T = TypeVar("T")


class Interruptible:
    """
    Mix into a connection class: each exchange with the server is marked, and what interrupts it drops the connection.

    A subclass counts in `touches` whenever it sends or reads, says by `is_in_step` which errors leave nothing unread,
    and drops its socket without protocol in `drop`.
    """

    #: The library's own exceptions; all others that pass through an exchange are interrupts.
    library_errors: ClassVar[tuple[type[BaseException], ...]]

    #: What a second thread gets while an exchange is under way.
    busy_error: ClassVar[type[Exception]]

    session: Session
    #: The thread, or greenlet, whose exchange this is.
    runner: int | None = None
    #: How often something was sent or read: an exchange that did neither leaves nothing behind, whatever ends it.
    touches: int = 0
    #: `touches` when the last exchange was complete.
    answered: int = 0
    #: An error of the library's has come out: the library may have closed the socket by itself.
    is_doubtful: bool = False

    def is_in_step(self, error: BaseException) -> bool:
        """Tell whether *error*, the library's own, was a complete reply, so the next one is the next question's."""
        raise NotImplementedError

    def drop(self) -> None:
        """Shut the socket without protocol and without waiting. Raises nothing."""
        raise NotImplementedError

    def exchange(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """
        Mark a reply as pending for as long as *call* has not read it whole. Exchanges nest.

        Raises:
            InheritedConnectionError: Another process opened this connection. Nothing has been sent.
            TaintedConnectionError: An exchange was interrupted before. Nothing has been sent.
            busy_error: Another thread waits for its answer. Nothing has been sent.
        """
        session = self.session
        if session.interrupt or session.owner_pid != me.pid or not unforked[0]:
            self.refuse_others()
        runner = threading.get_ident()
        if self.runner != runner:
            if self.runner is not None and session.pending:
                raise self.busy_error(f"connection {session.alias!r} is in use by another thread")
            self.runner = runner
        touches, handled, mark = self.touches, sys.exc_info()[1], strikes.count
        was_pending = session.pending
        session.pending = True
        try:
            returned = call(*arguments, **named)
            if strikes.count != mark and (swallowed := strikes.since(mark)) is not None:
                raise swallowed  # noqa: TRY301 -- to be treated as what struck and was let through
            session.pending = was_pending
            self.answered = self.touches
        except self.library_errors as error:
            self.is_doubtful = True
            interrupt = _masked(error, handled, self.library_errors) or strikes.since(mark)
            if interrupt is not None:
                self._end(interrupt, touches, was_pending=was_pending)
                raise interrupt  # noqa: B904 -- its own context shows what the library made of it
            if self.touches in (touches, self.answered) or self.is_in_step(error):
                session.pending = was_pending
                note_undone(session, error)
            else:
                self.drop()  # the reply will never come, or is somebody else's: it stays pending
            if session.deadline is not None:
                hear_limit(session.deadline, error)
            raise
        except BaseException as interrupt:
            self._end(interrupt, touches, was_pending=was_pending)
            raise
        return returned

    def statement(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Count a statement, and make the exchange with the server that it is."""
        self.session.sent += 1
        return self.exchange(call, *arguments, **named)

    def drain(self, call: Callable[[], object]) -> None:
        """Read with *call* what was left unread on purpose. If that fails, nothing that follows has been sent."""
        try:
            self.exchange(call)
        except self.library_errors:
            self.session.pending = False
            raise

    def refuse_others(self) -> None:
        """Refuse a process that does not own this connection, and everybody after an interrupt."""
        session, pid = self.session, getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)
        if session.interrupt:
            raise TaintedConnectionError(session.alias, session.interrupt)

    def refuse(self, verb: str) -> None:
        """Refuse to settle by hand, as *verb* would, what others settle."""
        self.refuse_others()
        if self.session.refusal is not None:
            self.session.refusal(verb)

    def is_beyond_use(self) -> bool:
        """Tell whether nothing may be sent or read: interrupted, or another process's."""
        session = self.session
        return session.interrupt != "" or session.owner_pid != me.pid or not unforked[0]

    def _end(self, interrupt: BaseException, touches: int, *, was_pending: bool) -> None:
        if self.touches == touches:
            self.session.pending = was_pending
        else:
            self.session.interrupt = type(interrupt).__name__
            self.drop()


def guarded_class(stock: type[T], guard: type[Any]) -> type[T]:
    """Derive from a library's class, or a user's own subclass of it, one whose methods *guard* overrides."""
    if issubclass(stock, guard):
        return stock
    derived: type[T] = _derive(stock, guard)  # type: ignore[arg-type]  # classes are hashable
    return derived


@functools.cache
def _derive(stock: Any, guard: Any) -> type[Any]:
    return type(stock.__name__, (guard, stock), {"__doc__": stock.__doc__, "__module__": stock.__module__})


def _masked(
    error: BaseException, handled: BaseException | None, library_errors: tuple[type[BaseException], ...]
) -> BaseException | None:
    """
    Find the interrupt that the library has turned into an error of its own.

    Libraries catch `Exception` around their work, and Celery's and RQ's time limits are no more than that. They are
    told from what the library has to catch by where they come from: neither from Python itself nor from the library.
    What was being *handled* before is none of this exchange's.
    """
    seen = error.__cause__ or error.__context__
    for _ in range(10):
        if seen is None or seen is handled:
            return None
        if not isinstance(seen, library_errors) and type(seen).__module__ not in _ORDINARY:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


#: Modules whose exceptions are what a library's own work ends in.
_ORDINARY = {"_ssl", "binascii", "builtins", "decimal", "queue", "select", "socket", "ssl", "struct", "zlib"}
