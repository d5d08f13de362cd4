"""Which exceptions may strike anywhere: limits, signals, kills. Task systems add theirs, drivers must not hide them."""

from __future__ import annotations

__all__ = ["add_interrupts", "is_interrupt"]

_kinds: tuple[type[BaseException], ...] = ()


def add_interrupts(kinds: tuple[type[BaseException], ...]) -> None:
    """Add ordinary exceptions (subclasses of `Exception`) that a limit throws into the middle of a task."""
    global _kinds  # noqa: PLW0603 -- one tuple for the process: every settlement asks it
    _kinds += kinds


def is_interrupt(exception: BaseException) -> bool:
    """Tell whether *exception* may have struck anywhere, a driver's call included: a limit, a signal, a kill."""
    return not isinstance(exception, Exception) or isinstance(exception, _kinds)
