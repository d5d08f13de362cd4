"""The classes that carry out RQ's time limits, as taskconn's workers have them."""

from __future__ import annotations

import pytest
from rq.timeouts import TimerDeathPenalty, UnixSignalDeathPenalty

from taskconn.rq._limits import noting_penalty

pytestmark = pytest.mark.portable


def test_class_is_derived_once() -> None:
    """However many jobs a process runs, its limits are carried out by one class, derived from the first."""
    noting = noting_penalty(UnixSignalDeathPenalty)

    assert noting is not UnixSignalDeathPenalty
    assert issubclass(noting, UnixSignalDeathPenalty)
    assert noting_penalty(noting) is noting


def test_limit_without_a_signal_is_left_as_it_is() -> None:
    """RQ's for threads calls its handler without the arguments of a signal's."""
    assert noting_penalty(TimerDeathPenalty) is TimerDeathPenalty
