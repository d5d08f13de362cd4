"""The lanes of the picture: which process did what from when to when, in seconds since the run began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .history import History, Process
from .screen import grouped, is_horse, role


@dataclass
class Lane:
    """
    Draw one process, or RQ's work horses one after another.

    Attributes:
        system: Task system.
        label: What stands in front of it.
        note: What stands behind it.
        spans: From when to when its process lived, as far as it was heard of.
        tasks: From when to when each task ran.
        forks: When its processes were forked.
        kills: When they were killed.
    """

    system: str
    label: str
    note: str
    spans: list[tuple[float, float]] = field(default_factory=list)
    tasks: list[tuple[float, float]] = field(default_factory=list)
    forks: list[float] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)


def lanes(history: History, systems: Sequence[str]) -> list[Lane]:
    """List the lanes, system by system, parents first."""
    end = history.seconds()
    return [_lane(group, history.began, end) for system in systems for group in grouped(history.of_system(system))]


def _lane(group: list[Process], began: float, end: float) -> Lane:
    first = group[0]
    label = (
        f"{first.system} horses of {first.parent_pid}"
        if is_horse(first)
        else f"{first.system} {role(group)} {first.pid}"
    )
    lane = Lane(first.system, label, _note(group))
    for process in group:
        born = process.born - began
        # A child that was not killed lives on, waiting for tasks; a work horse goes with its job.
        is_short = is_horse(process) or process.killed_at is not None
        lane.spans.append((born, process.last - began if is_short else end))
        lane.tasks += [(started - began, ended - began) for started, ended in process.spans]
        if not process.is_parent:
            lane.forks.append(born)
        if process.killed_at is not None:
            lane.kills.append(process.killed_at - began)
    return lane


def _note(group: list[Process]) -> str:
    tasks = sum(len(process.spans) for process in group)
    opens = sum(process.stats.get("opens", 0) for process in group)
    discards = sum(process.stats.get("discards", 0) for process in group)
    return f"{tasks:,} tasks, opens {opens:,}, discards {discards:,}"
