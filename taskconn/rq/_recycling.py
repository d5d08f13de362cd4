"""When a warm horse is replaced: its settings, and the reasons, which are looked at after each job."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..errors import WorkerSettingError
from . import _settings
from ._footprint import MARKS, Footprint, is_short_of_descriptors, resident_bytes

__all__ = ["PREFIX", "Limits", "Outcome", "Recycling"]

#: Of the settings in the module of ``-c`` and in the environment: TASKCONN_WARM_MAX_JOBS, ...
PREFIX = "TASKCONN_WARM_"

#: Outcomes of a job after which its horse may be replaced.
_OUTCOMES = ("failure", "timeout")

#: All that `Limits.recycle_on` may name.
_REASONS = (*_OUTCOMES, *MARKS)

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """
    Say how long a horse may live, and what ends it before. 0 is no limit.

    Attributes:
        max_jobs: Jobs.
        max_age: Seconds since it was forked; looked at after a job.
        max_rss: Mebibytes of resident memory.
        max_growth: Mebibytes of resident memory beyond what it had after its first job.
        max_idle: Seconds without a job after which it closes its connections; it stays.
        recycle_on: After a job that failed (a "timeout" is a failure too), or that has changed what others rely on.
    """

    max_jobs: int = 1000
    max_age: int = 3600
    max_rss: int = 0
    max_growth: int = 256
    max_idle: int = 300
    recycle_on: frozenset[str] = frozenset({*_REASONS} - {"environ"})

    @classmethod
    def of(cls, worker: object) -> Limits:
        """
        Read the settings: the module of ``-c`` wins, then the environment, then attributes of the worker's class.

        Raises:
            WorkerSettingError: One of them has a value that can't be used, or is unknown.
        """
        names = [field.name for field in fields(cls)]
        _refuse_unknown(names)
        found: dict[str, Any] = {}
        for name in names:
            variable = PREFIX + name.upper()
            setting, value = _settings.find(variable) or (f"warm_{name}", getattr(worker, f"warm_{name}"))
            found[name] = _reasons(setting, value) if name == "recycle_on" else _number(setting, value)
        return cls(**found)


class Outcome(NamedTuple):
    """
    Say how a job ended.

    Attributes:
        has_succeeded: It returned.
        was_interrupted: A time limit, or another exception of RQ's, has struck somewhere in it.
    """

    has_succeeded: bool
    was_interrupted: bool


class Recycling:
    """Decide, in a horse, whether the job that has just ended was its last. Made when it is born."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.jobs = 0
        self._born = time.monotonic()
        self._first_rss = 0
        self._footprint = self._look()

    def reason(self, outcome: Outcome) -> str | None:
        """Say why the horse is to be replaced after one more job, in words for the log; None if it is not."""
        self.jobs += 1
        limits = self.limits
        if not outcome.has_succeeded and "failure" in limits.recycle_on:
            return "its job failed"
        if outcome.was_interrupted and "timeout" in limits.recycle_on:
            return "its job was interrupted"
        if 0 < limits.max_jobs <= self.jobs:
            return f"it has run {self.jobs} jobs"
        if 0 < limits.max_age <= time.monotonic() - self._born:
            return f"it is {limits.max_age} seconds old"
        if is_short_of_descriptors():
            return "it has most of its descriptors open"
        return self._memory() or self._traces()

    def _memory(self) -> str | None:
        rss = resident_bytes()
        self._first_rss = self._first_rss or rss
        if 0 < self.limits.max_rss * _MEBIBYTE < rss:
            return f"it uses {rss // _MEBIBYTE} MiB of memory"
        if 0 < self.limits.max_growth * _MEBIBYTE < rss - self._first_rss:
            return f"its memory has grown by {(rss - self._first_rss) // _MEBIBYTE} MiB"
        return None

    def _traces(self) -> str | None:
        now = self._look()
        if now == self._footprint:
            return None
        changes = self._footprint.changes(now)
        found = [words for mark, words in changes.items() if mark in self.limits.recycle_on]
        return f"after its job {' and '.join(found)}" if found else None

    def _look(self) -> Footprint:
        return Footprint.take(with_environ="environ" in self.limits.recycle_on)


def _refuse_unknown(names: list[str]) -> None:
    known = {PREFIX + name.upper() for name in names}
    for name in sorted(_settings.names(PREFIX)):
        if name not in known and not name.endswith("_URL"):  # that of an alias called "warm_..."
            raise WorkerSettingError(
                name, "nobody knows it, and it would look as if it worked", f"There are: {', '.join(sorted(known))}."
            )


def _number(setting: str, value: object) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise WorkerSettingError(setting, f"{value!r} is no whole number from 0 on", "Write a number; 0 is no limit.")
    return value


def _reasons(setting: str, value: Any) -> frozenset[str]:
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip() not in {"", "none"}]
    try:
        found = frozenset(value)
    except TypeError:
        found = frozenset({value})
    for reason in sorted(found, key=str):
        if reason not in _REASONS:
            raise WorkerSettingError(
                setting, f"{reason!r} is no reason to replace a horse", f"There are: {', '.join(_REASONS)}."
            )
    return found
