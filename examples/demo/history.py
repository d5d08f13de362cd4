"""What happened, as the demo heard it: which process ran which tasks, over how many connections, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from .events import Event


@dataclass(frozen=True)
class Kill:
    """
    Tell of a child that was killed inside a transaction.

    Attributes:
        system: Its task system.
        pid: The child.
        number: The task that it had in hands.
        at: When, in seconds since the epoch.
    """

    system: str
    pid: int
    number: int
    at: float


@dataclass
class Process:
    """
    Tell of one process.

    Attributes:
        system: Its task system.
        pid: Its id.
        parent_pid: The one that has forked it.
        born: When it was forked, or started, in seconds since the epoch.
        is_parent: Is it the one that forks the others?
        spans: Start and end of each task that it ended.
        stats: The last that it said of its connections to the database.
        killed_at: When it was killed; None if it was not.
    """

    system: str
    pid: int
    parent_pid: int
    born: float
    is_parent: bool = False
    spans: list[tuple[float, float]] = field(default_factory=list)
    stats: dict[str, int] = field(default_factory=dict)
    killed_at: float | None = None

    @property
    def last(self) -> float:
        """When it was heard of last."""
        return max([self.born, self.killed_at or 0.0, *(end for _, end in self.spans[-1:])])


@dataclass
class History:
    """
    Gather the events of one run.

    Attributes:
        began: When the run began, in seconds since the epoch.
        processes: Processes by system and pid, in the order in which they were first heard of.
        done: Numbers of the tasks that have committed, by system.
        kills: The children that were killed.
    """

    began: float
    processes: dict[tuple[str, int], Process] = field(default_factory=dict)
    done: dict[str, set[int]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take one event in."""
        process = self._process(event)
        process.stats = event.stats
        if event.kind == "parent":
            process.is_parent = True
        elif event.kind == "done":
            process.spans.append((event.started, event.ended))
            self.done.setdefault(event.system, set()).add(event.number)

    def add_kill(self, event: Event, at: float) -> None:
        """Note that the process that has sent *event* was killed."""
        self._process(event).killed_at = at
        self.kills.append(Kill(event.system, event.pid, event.number, at))

    def of_system(self, system: str) -> list[Process]:
        """List the processes of one task system: its parent, then its children by age."""
        found = [process for process in self.processes.values() if process.system == system]
        return sorted(found, key=lambda process: (not process.is_parent, process.born))

    def seconds(self) -> float:
        """Give the time from the beginning to the last event."""
        return max((process.last for process in self.processes.values()), default=self.began) - self.began

    def _process(self, event: Event) -> Process:
        key = event.system, event.pid
        return self.processes.setdefault(key, Process(event.system, event.pid, event.parent_pid, event.born))
