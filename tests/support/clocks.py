"""Clocks that only the test moves."""

from __future__ import annotations

import time

import pytest

from taskconn import _leaks, _opening, _pace, _pool


class Clock:
    """The pools' clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (_pool, _opening, _leaks):
            monkeypatch.setattr(module, "_monotonic", self)

    def __call__(self) -> float:
        return self.now + 0.0  # a new object each time, as `time.monotonic` gives


class Stage:
    """The clock of the pace, and the share of the longest pause that is drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()  # connections age by the pool's clock, which goes on
        self.share = 1.0
        for module in (_pace, _opening):
            monkeypatch.setattr(module, "_monotonic", lambda: self.now)
        monkeypatch.setattr(_pace, "_share", lambda: self.share)
