"""No fork in the middle of another thread's import: settings, drivers and more are imported when they are needed."""

from __future__ import annotations

import time
import weakref
from importlib import _bootstrap
from typing import Any

from . import _process
from ._process import Owner, Socket

__all__ = ["mind_forks"]

#: Longest wait for an import before a fork, in seconds. That of a client library takes a tenth, on an idle machine.
PATIENCE_S = 10.0
_PAUSE_S = 0.001

#: Module -> weak reference to the lock that is held while it is imported. It has no public name.
_locks: Any = getattr(_bootstrap, "_module_locks", {})
#: The operating system's, whatever gevent has patched.
_get_ident: Any = _bootstrap._thread.get_ident  # type: ignore[attr-defined]  # noqa: SLF001 -- the locks know threads by it


class _Imports:
    """
    Let other threads finish importing before this one forks.

    1. A thread takes the first lease of an alias, and imports its driver. 2. Another one forks. 3. The child takes a
    lease, too, and waits for the lock of that import, which is held by a thread that it has not: for ever.

    Source:
        CPython renews the lock around all imports in a child, and none of the modules' own (tried: 3.10 to 3.13).
    """

    def __init__(self) -> None:
        #: Locks that were waited for in vain, or whose holder is not in this process: nobody waits for them again.
        self._endless: list[weakref.ref[Any]] = []

    def before_fork(self) -> None:
        """Wait, but not for long, and for each import once: some run a whole program."""
        ends_at = time.monotonic() + PATIENCE_S
        while held := self._held_by_others():
            if time.monotonic() >= ends_at:
                self._give_up(held)
                return
            time.sleep(_PAUSE_S)

    def sockets(self) -> list[Socket]:
        """There are none."""
        return []

    def after_fork_in_child(self, parent: Owner) -> None:
        """Give up what nobody here can end."""
        self._give_up(self._held_by_others())

    def _held_by_others(self) -> list[Any]:
        own, endless = _get_ident(), [reference() for reference in self._endless]
        locks = [reference() for reference in list(_locks.values())]
        return [
            lock
            for lock in locks
            if getattr(lock, "owner", None) not in (None, own) and not any(lock is one for one in endless)
        ]

    def _give_up(self, locks: list[Any]) -> None:
        self._endless = [reference for reference in self._endless if reference() is not None]
        self._endless += map(weakref.ref, locks)


_imports = _Imports()


def mind_forks() -> None:
    """Wait before each fork of this process, and of its children."""
    _process.watch(_imports)
