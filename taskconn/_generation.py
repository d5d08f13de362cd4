"""One number that this process shares with every process forked from it: connections of an earlier one are replaced."""

from __future__ import annotations

import mmap

__all__ = ["advance", "current"]

#: Its first element is the number. Anonymous and shared, so that children see what an ancestor, or a child, writes;
#: processes that are spawned have a page of their own.
current = mmap.mmap(-1, mmap.PAGESIZE)


def advance() -> None:
    """
    Have every connection replaced at its next safe moment, in this process, its ancestors and its children.

    It takes no lock and makes no call that could wait: signal handlers may call it.
    """
    current[0] = (current[0] + 1) % 256
