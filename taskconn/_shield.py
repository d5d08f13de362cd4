"""Keep signals out of a COMMIT: a function that returned is not to be called failed by a limit that came too late."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` wraps it in slow enums
import logging
import sys
import threading
from types import TracebackType
from typing import Any

from . import _process
from ._process import me

_get_ident = threading.get_ident
_loaded = sys.modules
log = logging.getLogger("taskconn")

#: Signals whose Python handlers may raise: those that task systems, shells and service managers send.
_SHIELDED = tuple(
    getattr(_signal, name)
    for name in ("SIGALRM", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGRTMIN")
    if hasattr(_signal, name)
)

#: Signals that stand for a limit on the task (Celery's soft limit, RQ's timeout): pointless once it is committed.
_LIMITS = frozenset(getattr(_signal, name) for name in ("SIGALRM", "SIGUSR1") if hasattr(_signal, name))


class Shield:
    """
    Hold signals back while the block runs, and deliver them afterwards.

    The Python handlers are swapped, for ``pthread_sigmask`` does not help once another thread exists: the kernel
    gives the signal to that one, and Python runs the handler in the main thread all the same. Handlers that users
    set are kept and called. Outside of the main thread Python runs no handlers, and nothing is to be done. In a
    greenlet nothing can be done: while it waits for its server another one would swap, and restore, the first one's.

    Attributes:
        has_committed: Set it when the commit has succeeded: what the handlers of limits that came meanwhile raise is
            then dropped, and logged.

    Source:
        Experiments with Celery 5.7: SIGUSR1 or SIGTERM in ``commit()`` raises although the server commits.
    """

    __slots__ = ("_alias", "_caught", "_saved", "has_committed")

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._saved: list[tuple[int, Any]] = []
        self._caught: list[int] = []
        self.has_committed = False

    def __enter__(self) -> Shield:
        if _get_ident() == me.main_thread and ("greenlet" not in _loaded or not _process.is_in_greenlet()):
            saved, catch = self._saved, self._catch
            try:
                for number in _SHIELDED:
                    handler = _signal.getsignal(number)
                    if callable(handler):
                        saved.append((number, handler))
                        _signal.signal(number, catch)
            except BaseException:  # a signal that came before its handler was swapped
                self._end()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            saved = self._saved
            while saved:
                _signal.signal(*saved[-1])
                saved.pop()
            if self._caught:
                self._deliver()
        except BaseException:  # a handler that is in its place again was called
            self._end()
            raise

    def drop(self, limit: BaseException) -> None:
        """Drop *limit*, which came during a COMMIT that succeeded, and say so."""
        log.warning(
            "connection %r: a time limit (%s) came during a COMMIT that succeeded: dropped, process %d",
            self._alias,
            type(limit).__name__,
            _process.getpid(),
        )

    def _end(self) -> None:
        try:
            self._restore()
        finally:
            self._deliver()

    def _deliver(self) -> None:
        """Call the handlers of what came meanwhile; one that raises keeps none of the others from being called."""
        while self._caught:
            number = self._caught.pop(0)
            try:
                _signal.raise_signal(number)
            except BaseException as limit:
                if not (self.has_committed and number in _LIMITS):
                    raise
                self.drop(limit)
            finally:
                self._deliver()

    def _catch(self, number: int, frame: object) -> None:
        if number not in self._caught:
            self._caught.append(number)

    def _restore(self) -> None:
        """Put every handler back, also when one is called meanwhile and raises before the next is set."""
        try:
            while self._saved:
                number, handler = self._saved[-1]
                if _signal.getsignal(number) == self._catch:  # else it is there already, or what it has set itself
                    _signal.signal(number, handler)
                self._saved.pop()
        except BaseException:
            self._restore()
            raise
