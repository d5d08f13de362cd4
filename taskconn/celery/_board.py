"""A board in shared memory: each child of a prefork worker writes its counters there, the worker reads their sum."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._leftovers import used_pools
from .._pool import Pool
from ..telemetry import Counters

__all__ = ["Board", "Slot", "Stats", "add", "own_stats"]

#: Alias -> counter -> number, as `taskconn.stats()` gives it.
Stats = dict[str, dict[str, int]]

#: What is of this moment, and ends with the process that wrote it.
_GAUGES = ("open", "leased")
_NAMES = (*Counters.NAMES, *_GAUGES)
_ROW = struct.Struct(f"<40s{len(_NAMES)}q")

#: Bytes of one child's slot: a page, 25 aliases. What is never written takes no memory.
_SLOT = 4096
_ROWS = _SLOT // _ROW.size

#: Slots of one board. Children beyond it are not counted.
_SLOTS = 1024


class Board:
    """
    Share counters between the worker and its children, by `fork` or by name.

    A child's index is unique among the living ones and is used again by its replacement, which goes on adding where
    the other one ended: so totals survive recycled and killed children.
    """

    def __init__(self, descriptor: int = -1, path: str | None = None) -> None:
        self.path = path
        self.memory = mmap.mmap(descriptor, _SLOT * _SLOTS)  # of no file (-1): shared with forked children

    @classmethod
    def make_named(cls) -> Board:
        """Make an empty board that spawned children can open; its file is there until `remove`."""
        descriptor, path = tempfile.mkstemp(prefix="taskconn-")
        try:
            os.ftruncate(descriptor, _SLOT * _SLOTS)
            return cls(descriptor, path)
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: str) -> Board:
        """Open the board that another process has made."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            return cls(descriptor)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the board's file, if it has one."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()

    def read(self, index: int) -> Stats:
        """Read one slot."""
        stats: Stats = {}
        for offset in range(index * _SLOT, index * _SLOT + _ROWS * _ROW.size, _ROW.size):
            name, *numbers = _ROW.unpack_from(self.memory, offset)
            if not name.strip(b"\0"):
                break
            stats[name.rstrip(b"\0").decode(errors="replace")] = dict(zip(_NAMES, numbers, strict=True))
        return stats

    def total(self) -> Stats:
        """Add up all slots."""
        total: Stats = {}
        for index in range(_SLOTS):
            if self.memory[index * _SLOT]:
                add(total, self.read(index))
        return total


class Slot:
    """Write one child's counters, on top of what was counted in its place before it."""

    def __init__(self, board: Board, index: int) -> None:
        self._memory = board.memory
        self._start = index * _SLOT
        self._room = _ROWS if index < _SLOTS else 0
        self._base = board.read(index) if self._room else {}
        self._offsets: dict[str, int] = {}
        self._written: dict[str, tuple[int, ...]] = {}
        for alias, counts in self._base.items():
            self._place(alias)
            for name in _GAUGES:
                counts[name] = 0

    def write(self, stats: Stats) -> None:
        """Write the counters of this process. They count from its start."""
        for alias in {**self._base, **stats}:
            own = stats.get(alias, {})
            self.write_numbers(alias, tuple(own.get(name, 0) for name in _NAMES))

    def write_numbers(self, alias: str, numbers: tuple[int, ...]) -> None:
        """Write those of one alias, in the order of `Counters.numbers`: this is done after every task."""
        if self._written.get(alias) == numbers:
            return
        self._written[alias] = numbers
        offset = self._place(alias)
        if offset is not None:
            base = self._base.get(alias)
            if base is not None:
                numbers = tuple(base[name] + number for name, number in zip(_NAMES, numbers, strict=True))
            _ROW.pack_into(self._memory, offset, alias.encode()[:40], *numbers)

    def _place(self, alias: str) -> int | None:
        offset = self._offsets.get(alias)
        if offset is None and len(self._offsets) < self._room:
            offset = self._offsets[alias] = self._start + len(self._offsets) * _ROW.size
        return offset


def add(total: Stats, stats: Stats) -> None:
    """Add *stats* to *total*."""
    for alias, counts in stats.items():
        sums = total.setdefault(alias, {})
        for name, number in counts.items():
            sums[name] = sums.get(name, 0) + number


def own_stats(pools: Iterable[Pool[Any]] | None = None) -> Stats:
    """Give the counters of this process, as `taskconn.stats()` does; *pools* are all that were used, if known."""
    total: Stats = {}
    for pool in used_pools() if pools is None else pools:
        if pool.alias in total:
            add(total, {pool.alias: pool.stats()})
        else:
            total[pool.alias] = pool.stats()
    return total
