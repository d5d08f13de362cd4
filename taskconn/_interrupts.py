"""Which exceptions may strike anywhere: limits, signals, kills. Task systems add theirs, drivers must not hide them."""

from __future__ import annotations

__all__ = ["add_interrupts", "is_interrupt", "masked_interrupt"]

_kinds: tuple[type[BaseException], ...] = ()


def add_interrupts(kinds: tuple[type[BaseException], ...]) -> None:
    """Add ordinary exceptions (subclasses of `Exception`) that a limit throws into the middle of a task."""
    global _kinds  # noqa: PLW0603 -- one tuple for the process: every settlement asks it
    _kinds += kinds


def is_interrupt(exception: BaseException) -> bool:
    """Tell whether *exception* may have struck anywhere, a driver's call included: a limit, a signal, a kill."""
    return not isinstance(exception, Exception) or isinstance(exception, _kinds)


def masked_interrupt(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """
    Find the interrupt that a client library has turned into *error*, an error of its own; None if there was none.

    Args:
        error: What came out of the library.
        handled: What was being handled before the library was called (``sys.exc_info()[1]``): none of its making.
    """
    seen = error.__cause__ or error.__context__
    for _ in range(10):
        if seen is None or seen is handled:
            return None
        if is_interrupt(seen) and not isinstance(seen, GeneratorExit):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
