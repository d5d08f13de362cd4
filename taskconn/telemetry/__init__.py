"""What happened to connections, counted; exporters read it, nothing here is asked to act."""

from __future__ import annotations

from ._counters import Counters

__all__ = ["Counters"]
