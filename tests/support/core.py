"""A registry over the fake driver, and tasks of a task system that does not exist, for tests of the core."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import taskconn
from taskconn import _context
from taskconn._context import TaskContext
from taskconn._pool import Pool
from taskconn.testing import FakeConnection, FakeDriver


@dataclass
class Fake:
    """One alias over a fake driver, in a registry of its own."""

    driver: FakeDriver = field(default_factory=FakeDriver)
    registry: taskconn.Registry = field(default_factory=taskconn.Registry)
    alias: str = "default"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.handle: taskconn.Handle[FakeConnection] = self.registry.add(self.alias, self.driver, **self.options)

    @property
    def pool(self) -> Pool[FakeConnection]:
        return self.registry.pool(self.alias)

    @property
    def opened(self) -> list[FakeConnection]:
        return self.driver.opened

    def lease(self) -> taskconn.Lease[FakeConnection]:
        return taskconn.lease(self.handle)

    def stats(self) -> dict[str, int]:
        return self.registry.stats()[self.alias]

    def beside(self, alias: str, **options: Any) -> Fake:
        """Add another alias to the same registry."""
        return Fake(FakeDriver(), self.registry, alias, options)


def fake(**options: Any) -> Fake:
    """Make a registry with the alias ``default`` over a fake driver."""
    return Fake(options=options)


@contextmanager
def task_system(*interrupts: type[BaseException]) -> Iterator[list[TaskContext]]:
    """Register a task system; the last item of the list is the task that runs."""
    running: list[TaskContext] = []
    previous = _context._interrupts
    _context.register(lambda: running[-1] if running else None, interrupts=interrupts)
    source = _context._sources[-1]
    try:
        yield running
    finally:
        _context._sources.remove(source)
        _context._interrupts = previous


_keys = itertools.count(1)


@contextmanager
def task(running: list[TaskContext], **fields: Any) -> Iterator[None]:
    """Run a task, nested in those that run."""
    key = next(_keys)
    running.append(TaskContext(key, "tests", f"task-{key}", "tests.task", **fields))
    try:
        yield
    finally:
        running.pop()
