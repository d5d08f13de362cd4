"""Notes that a process shares with all that it forks: what one of them has found out, the others need not ask for."""

from __future__ import annotations

import itertools
import mmap

from . import _process
from ._process import Owner

__all__ = ["SharedNote"]


class _Page:
    """Hold the notes of one process, for it and its children, whose own new ones stand on pages of their own."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.bytes = mmap.mmap(-1, mmap.PAGESIZE)  # anonymous and shared
        self.numbers = itertools.count()  # two threads get two numbers


class SharedNote:
    """
    Hold one bit, false at first, for this process and all that are forked from it later; whoever sets it, all see it.

    It takes no lock: a process may be killed, or fork, at any time.
    """

    __slots__ = ("_at", "_page")

    def __init__(self) -> None:
        page, owner = _pages[-1], _process.owner()
        at = next(page.numbers)
        if page.owner is not owner or at >= mmap.PAGESIZE:
            page = _Page(owner)
            _pages[:] = [page]
            at = next(page.numbers)
        self._page, self._at = page.bytes, at

    def __bool__(self) -> bool:
        return self._page[self._at] != 0

    def set(self, value: bool) -> None:  # noqa: FBT001 -- there is nothing else to be said
        """Have it say *value* from now on."""
        self._page[self._at] = value


_pages = [_Page(_process.owner())]
