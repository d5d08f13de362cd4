"""What a job may leave behind in its process, to the harm of the next one: looked at after each job of a warm horse."""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import suppress
from typing import Any, NamedTuple

__all__ = ["MARKS", "Footprint", "is_short_of_descriptors", "resident_bytes"]

#: Signals whose handlers are compared. SIGALRM is RQ's time limit, SIGTERM its end.
_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGINT", "SIGPIPE", "SIGRTMIN", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)

_STATM = "/proc/self/statm"

#: Part of its descriptors that a process may have open before it is replaced.
_FULL = 0.75


class Footprint(NamedTuple):
    """
    Hold what can be compared before and after a job. Reading it costs about ten system calls, 10 µs.

    Attributes:
        cwd: Current folder; "" if it was deleted.
        umask: Mask of new files' modes.
        signals: Handlers of the signals that matter.
        threads: Ids of the threads that live.
        children: Whether it has child processes.
        environ: Variables, without those that RQ sets for each job.
    """

    cwd: str
    umask: int
    signals: tuple[Any, ...]
    threads: frozenset[int]
    children: bool
    environ: dict[str, str] | None

    @classmethod
    def take(cls, *, with_environ: bool) -> Footprint:
        """Look at the calling process."""
        umask = os.umask(0o077)
        os.umask(umask)
        return cls(
            _cwd(),
            umask,
            tuple(signal.getsignal(number) for number in _SIGNALS),
            frozenset(thread.ident or 0 for thread in threading.enumerate() if not _is_ending(thread)),
            _has_children(),
            _environ() if with_environ else None,
        )

    def changes(self, now: Footprint) -> dict[str, str]:
        """
        Say what is different *now*.

        Returns:
            Name of the mark (see `MARKS`), and what has changed in words.
        """
        threads = len(now.threads - self.threads)
        found = {
            "cwd": "the current folder is another" if now.cwd != self.cwd else "",
            "umask": "the umask is another" if now.umask != self.umask else "",
            "signals": "a signal's handler is another" if now.signals != self.signals else "",
            "threads": f"{threads} threads are left" if threads else "",
            "children": "a child process is left" if now.children and not self.children else "",
            "environ": "the environment is another" if now.environ != self.environ else "",
        }
        return {mark: words for mark, words in found.items() if words}


#: Names of what is compared.
MARKS = Footprint._fields


def is_short_of_descriptors() -> bool:
    """Tell whether most of the descriptors that this process may have are open."""
    try:
        lowest = os.dup(2)  # the lowest that is free
    except OSError as error:
        return error.errno == errno.EMFILE
    os.close(lowest)
    return lowest > os.sysconf("SC_OPEN_MAX") * _FULL > 0


def resident_bytes() -> int:
    """Tell how much memory this process has now, shared pages included; 0 where the system does not tell."""
    try:
        descriptor = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)  # a file object costs more than all the rest
        try:
            return int(os.read(descriptor, 128).split()[1]) * os.sysconf("SC_PAGE_SIZE")
        finally:
            os.close(descriptor)
    except (OSError, IndexError, ValueError):
        return 0


def _cwd() -> str:
    with suppress(OSError):
        return os.getcwd()  # noqa: PTH109 -- a path object for each job would cost more than the call
    return ""


def _environ() -> dict[str, str]:
    found = dict(os.environ)
    for name in ("RQ_JOB_ID", "RQ_WORKER_ID"):
        found.pop(name, None)
    return found


def _is_ending(thread: threading.Thread) -> bool:
    """Tell whether a thread is a timer that was cancelled: it ends in a moment."""
    return isinstance(thread, threading.Timer) and thread.finished.is_set()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
