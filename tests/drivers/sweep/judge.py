"""Runs a passage, has it struck at each of its points, and judges what came of it."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import taskconn
from taskconn.driver import Driver
from taskconn.errors import CommitOutcomeUnknownError, TaintedConnectionError
from tests.drivers.rows import Row, target_of
from tests.drivers.sweep.bolt import Bolt, Interrupt, pool

#: A passage that takes longer hangs, in seconds.
_HANG_S = 30


class Wrong(Exception):  # noqa: N818 -- a finding
    """Say how the promise was broken."""


class Sweep:
    """Run the passages of one row."""

    def __init__(self, row: Row, url: str) -> None:
        self.row = row
        row.unread = 50
        self.bolt = Bolt()
        self.number = 0
        self.registry_urls = url
        self.driver: Driver[Any] = row.driver()
        self.judge = self.driver.open(target_of(url), 10)
        row.prepare(self.judge)
        if self.driver.transactional:
            self.driver.commit(self.judge, 10)
        self.findings: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.late: Counter[str] = Counter()

    def run(self, name: str, passage: Passage, most: int | None) -> None:
        """Sweep *passage* at *most* points, evenly spread; *name* is what it is called in the findings."""
        options: dict[str, Any] = passage.options
        taskconn.configure({"default": {"url": self.registry_urls, "connect_timeout": 10, "cancel": False, **options}})
        faulthandler.dump_traceback_later(_HANG_S, exit=True)
        for _ in range(3):  # what is done once only has been done
            self._once(passage, None)
        points = self._once(passage, None, finds=True) or []
        step = 1 if most is None else max(1, len(points) // most)
        self.counts[f"{name} points"] = len(points)
        for at in points[::step]:
            faulthandler.dump_traceback_later(_HANG_S, exit=True)
            try:
                self._once(passage, at)
            except Wrong as wrong:
                self.findings[f"{name}: {wrong} at {self.bolt.place}"] += 1
            except Exception as error:
                self.findings[f"{name}: then {error!r} at {self.bolt.place}"] += 1
                if os.environ.get("SWEEP_RAISES"):
                    raise
            self.counts[f"{name} struck"] += 1
        faulthandler.cancel_dump_traceback_later()

    def _once(self, passage: Passage, at: int | None, *, finds: bool = False) -> list[int]:
        """Run *passage* once: its points found, struck *at* one, or left alone; and judge it."""
        self.number += 1
        value = f"{os.getpid()}-{self.number}"
        found: list[int] = []
        with passage.place(self) as place:

            def act() -> None:
                passage.act(self, place, value)

            raised: BaseException | None = None
            try:
                if finds:
                    found = self.bolt.find(act)
                elif at is None:
                    act()
                else:
                    self.bolt.strike(act, at)
            except BaseException as error:  # noqa: BLE001 -- what is judged
                raised = error
            is_struck = raised is not None
            is_known = True
            if at is not None:
                is_known = self._judge_exception(raised)
            elif raised is not None:
                raise raised
            raised = self.bolt.interrupt = None  # with the frames that they hold
            passage.after(self, place, is_struck)
        if passage.writes and self.driver.transactional and is_known:
            self._judge_rows(value, expected=passage.commits and not is_struck)
        self._next_lease()  # which also drops what an interrupted `__exit__` has left open
        if self.number % 50 == 0 and self.driver.transactional:
            gc.collect()
            self.row.run(self.judge, "DELETE FROM car")
            self.driver.commit(self.judge, 10)
        return found

    def _judge_exception(self, raised: BaseException | None) -> bool:
        """Look whether what was raised is the interrupt; tell whether it says if the commit was made."""
        bolt, counts = self.bolt, self.counts
        is_it = _is(raised, bolt.interrupt)
        counts["interrupts"] += bolt.interrupt is not None
        counts["held back"] += bolt.interrupt is None
        counts["lost in a destructor"] += bolt.was_lost
        counts["after the commit"] += bolt.was_late
        if bolt.interrupt is not None and not is_it and not bolt.was_lost:
            if raised is not None or not bolt.was_settling:
                raise Wrong(f"the interrupt came as {raised!r}")
            counts["dropped after the commit"] += 1
        if raised is not None and not is_it and not (bolt.was_lost and isinstance(raised, TaintedConnectionError)):
            raise raised
        is_unknown = raised is not None and isinstance(raised.__cause__, CommitOutcomeUnknownError)
        return not is_unknown and not bolt.was_late

    def ask_right(self, connection: Any) -> None:
        """Ask what has one right answer."""
        self.number += 1
        answer, right = self.row.ask(connection, self.number)
        if answer != right:
            raise Wrong(f"wrong answer {answer!r} for {right!r}")

    def _judge_rows(self, value: str, *, expected: bool) -> None:
        row, driver, judge = self.row, self.driver, self.judge
        driver.rollback(judge, 10)
        present = value in row.values(judge)
        driver.rollback(judge, 10)
        if present and not expected:
            raise Wrong("the row is there although the task failed")
        if expected and not present:
            raise Wrong("the row is missing although the task succeeded")

    def _next_lease(self) -> None:
        with taskconn.lease("default") as connection:
            self.ask_right(connection)
        stats = pool().stats()
        if stats["leased"]:
            self.counts["collected late"] += 1
            self.late[self.bolt.place] += 1
            gc.collect()
            stats = pool().stats()
        if stats["leased"] or stats["open"] > 1:
            raise Wrong(f"the pool counts {stats['open']} open, {stats['leased']} leased")


def _is(raised: BaseException | None, interrupt: Interrupt | None) -> bool:
    """Tell whether it is the interrupt, or a copy: of one that a library swallowed, or by Python's codecs."""
    return raised is interrupt or (
        type(raised) is Interrupt
        and type(interrupt) is Interrupt
        and (raised.args == interrupt.args or raised.__cause__ is interrupt)
    )


class Passage:
    """
    What a task does, and what has to be true afterwards.

    Attributes:
        options: Options of the alias.
        writes, commits: Does it write the value that it is given, and is the row there at its end?
    """

    options: dict[str, Any] = {}  # noqa: RUF012 -- read only
    writes = commits = False

    @contextlib.contextmanager
    def place(self, sweep: Sweep) -> Iterator[Any]:
        """Prepare, and clean up, what is not swept."""
        yield None

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        """Do what is swept."""
        raise NotImplementedError

    def after(self, sweep: Sweep, place: Any, is_struck: bool) -> None:
        """Look at what the task has, once the interrupt was swallowed."""
