"""
Interrupt a driver at every point of what a task does with it: wherever Python hears signals, one point after the other.

Run as ``python -m tests.drivers.sweep ROW URL [--passages ask0,write] [--points N]``. Each passage is run once to find
its points: a place in the code, with the calls that lead to it. Then it is run again for each of them, and a real
signal strikes there. Prints what came of it as one JSON object; what breaks the promise is listed with its place.
"""

from __future__ import annotations

import argparse
import contextlib
import dis
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import taskconn
from taskconn._interrupts import add_interrupts, noting
from taskconn._shield import Shield
from taskconn.driver import Driver
from taskconn.errors import CommitOutcomeUnknownError, TaintedConnectionError
from tests.drivers.rows import Row, target_of
from tests.drivers.sweep_rows import SWEPT

#: A passage that takes longer hangs, in seconds.
_HANG_S = 30

#: What the sweep itself runs is not swept.
_OWN = {__file__}


class Interrupt(Exception):  # noqa: N818 -- like a soft time limit, it is no error of the program's
    """Strike at a chosen point."""


class Wrong(Exception):  # noqa: N818 -- a finding
    """Say how the promise was broken."""


class Bolt:
    """
    Strike once, at a chosen point.

    Python hears signals when a function begins, when a call has returned, and when a loop goes round; a call into C may
    hear them while it waits. A profiler sees the first two, and what it raises there appears where a signal's would; a
    tracer sees the third.

    Attributes:
        place: Where it struck: function, file and line.
        interrupt: What was raised; None if the signal was held back.
        was_lost: A destructor had to be interrupted, which Python lets nobody hear.
        was_settling: It struck while the lease committed, and had committed: a limit is dropped there.
        was_late: It struck between the end of the commit and that of the lease, as it may strike after that.
    """

    def __init__(self) -> None:
        self.place = ""
        self.interrupt: Interrupt | None = None
        self.strikes = 0
        self.was_lost = self.was_late = self.was_settling = False
        self._count = self._rounds = self._at = 0
        self._commits = 0
        self._seen: dict[int, int] = {}
        self._ways: dict[FrameType, int] = {}

    def find(self, call: Callable[[], object]) -> list[int]:
        """
        Run *call* and number its points; each one counts once for each way that leads to it.

        Returns:
            Numbers of calls and returns, and those of the rounds of loops, which are negative.
        """
        self._reset(0)
        self._seen = {}
        self._ways = {}
        sys.setprofile(self._note)
        sys.settrace(self._note_rounds)
        try:
            call()
        finally:
            sys.settrace(None)
            sys.setprofile(None)
            self._ways = {}
        return list(self._seen.values())

    def strike(self, call: Callable[[], object], at: int) -> None:
        """Run *call*, and strike at the point *at*."""
        self._reset(at)
        if at > 0:
            sys.setprofile(self._step)
        else:
            sys.settrace(self._step_rounds)
        try:
            call()
        finally:
            sys.settrace(None)
            sys.setprofile(None)

    def raise_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal; one that the shield has held back until the commit had succeeded is dropped."""
        self.strikes += 1
        self.interrupt = Interrupt(self.strikes)
        if frame is not None and frame.f_code is Shield._deliver.__code__:
            self.was_settling = _commits() > self._commits
        raise self.interrupt

    def lose(self, lost: Any) -> None:
        """Take down what a destructor has raised; what an object that was never finished makes of its end is noise."""
        if lost.exc_value is self.interrupt:
            self.was_lost = True

    def _reset(self, at: int) -> None:
        self.place, self.interrupt = "", None
        self.was_lost = self.was_late = self.was_settling = False
        self._count, self._rounds, self._at = 0, 0, at
        self._commits = _commits()

    def _strike(self, frame: FrameType, event: str) -> None:
        code = frame.f_code
        self.place = f"{code.co_qualname} ({_short(code.co_filename)}:{frame.f_lineno})"
        self.was_lost = _is_destructor(frame)  # of a library's own, which swallows it
        if _commits() > self._commits:
            self.was_settling = _is_settling(frame.f_back if event == "return" else frame)
            self.was_late = not self.was_settling
        signal.raise_signal(signal.SIGUSR1)

    def _step(self, frame: FrameType, event: str, argument: object) -> None:
        if _is_point(frame, event, argument):
            self._count += 1
            if self._count == self._at:
                sys.setprofile(None)
                self._strike(frame, event)

    def _step_rounds(self, frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and _is_round(frame):
            self._rounds -= 1
            if self._rounds == self._at:
                sys.settrace(None)
                self._strike(frame, event)
                return None
        return self._step_rounds

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if not _is_point(frame, event, argument):
            return
        self._count += 1
        self._seen.setdefault(hash((self._way(frame), frame.f_code, frame.f_lasti, event)), self._count)

    def _note_rounds(self, frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and _is_round(frame):
            self._rounds -= 1
            self._seen.setdefault(hash((self._way(frame), frame.f_code, frame.f_lasti)), self._rounds)
        return self._note_rounds

    def _way(self, frame: FrameType) -> int:
        """Name the calls that have led to *frame*."""
        way = self._ways.get(frame)
        if way is None:
            caller = frame.f_back
            way = hash((self._way(caller), caller.f_code, caller.f_lasti)) if caller is not None else 0
            self._ways[frame] = way
        return way


#: What a function is left by, when it is not by an exception.
_RETURNS = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_GENERATOR", "YIELD_VALUE") if name in dis.opmap}
#: What a loop goes round by.
_ROUNDS = {number for name, number in dis.opmap.items() if "JUMP_BACKWARD" in name or name == "JUMP_ABSOLUTE"}


#: Functions in C that hear signals before they have done anything, because they may wait.
_WAITING = {"acquire", "connect", "do_handshake", "poll", "read", "recv", "recv_into", "select", "send", "sendall"}
_WAITING |= {"sleep", "write"}


def _is_point(frame: FrameType, event: str, argument: Any) -> bool:
    """Tell whether Python would hear a signal here; not while an exception passes."""
    if frame.f_code.co_filename in _OWN:
        return False
    if event == "return":
        return frame.f_code.co_code[frame.f_lasti] in _RETURNS
    return event != "c_exception" and (event != "c_call" or argument.__name__ in _WAITING)


def _is_round(frame: FrameType) -> bool:
    return frame.f_code.co_filename not in _OWN and frame.f_code.co_code[frame.f_lasti] in _ROUNDS


def _commits() -> int:
    return int(_pool().stats()["commits"])


def _is_destructor(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _is_settling(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == taskconn._settle.__file__:
            return True
        frame = frame.f_back
    return False


def _short(path: str) -> str:
    return "/".join(path.split("/")[-3:])


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

    def run(self, name: str, most: int | None) -> None:
        """Sweep the passage *name* at *most* points, evenly spread."""
        passage = PASSAGES[name]
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
        stats = _pool().stats()
        if stats["leased"]:
            self.counts["collected late"] += 1
            self.late[self.bolt.place] += 1
            gc.collect()
            stats = _pool().stats()
        if stats["leased"] or stats["open"] > 1:
            raise Wrong(f"the pool counts {stats['open']} open, {stats['leased']} leased")


def _is(raised: BaseException | None, interrupt: Interrupt | None) -> bool:
    """Tell whether it is the interrupt, or a copy: of one that a library swallowed, or by Python's codecs."""
    return raised is interrupt or (
        type(raised) is Interrupt
        and type(interrupt) is Interrupt
        and (raised.args == interrupt.args or raised.__cause__ is interrupt)
    )


def _pool() -> Any:
    return taskconn._registry.default_registry().pool("default")


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


class Ask(Passage):
    """Ask inside a lease; the interrupt is swallowed, and the task asks again on the same connection."""

    def __init__(self, way: int, ways: int) -> None:
        self.way, self.ways = way, ways

    @contextlib.contextmanager
    def place(self, sweep: Sweep) -> Iterator[Any]:
        lease = taskconn.lease("default")
        connection = lease.begin(None)
        self.number = (sweep.number + 1) * self.ways + self.way
        try:
            yield connection
        finally:
            is_tainted = lease.is_tainted
            try:
                lease.succeed()
            except TaintedConnectionError:
                if not is_tainted:
                    raise

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        answer, right = sweep.row.ask(place, self.number)
        if answer != right:
            raise Wrong(f"wrong answer {answer!r} for {right!r}")

    def after(self, sweep: Sweep, place: Any, is_struck: bool) -> None:
        with contextlib.suppress(TaintedConnectionError):
            sweep.ask_right(place)


class Write(Passage):
    """Write, and let the lease commit."""

    writes = commits = True

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default") as connection:
            sweep.row.write(connection, value)


class AppError(Exception):
    """Fail as a task may."""


class Fail(Passage):
    """Write, and fail: the lease rolls back."""

    writes = True

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with contextlib.suppress(AppError), taskconn.lease("default") as connection:
            sweep.row.write(connection, value)
            raise AppError


class Many(Passage):
    """Write many rows at once."""

    writes = commits = True

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default") as connection:
            sweep.row.write_many(connection, [f"{value}-1", value, f"{value}-2"])


class ByHand(Passage):
    """Roll back by hand, write, commit by hand: the interrupt may come after the commit, so the row is not judged."""

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default") as connection:
            sweep.row.write(connection, value)
            connection.rollback()
            sweep.row.write(connection, value)
            connection.commit()


class Refused(Passage):
    """Write, then have a statement refused by the server, which the task handles."""

    writes = commits = True

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default") as connection:
            try:
                sweep.row.run(connection, "SELECT 1 FROM nowhere")
            except sweep.driver.errors as error:
                if "nowhere" not in str(error):
                    raise
                connection.rollback()
            sweep.row.write(connection, value)


class Check(Passage):
    """Lease a connection that has to be asked for a sign of life first."""

    options: dict[str, Any] = {"health_check_interval": 0}  # noqa: RUF012 -- read only

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default"):
            pass


class Open(Passage):
    """Lease where there is no connection yet."""

    writes = commits = True

    @contextlib.contextmanager
    def place(self, sweep: Sweep) -> Iterator[Any]:
        _pool().close_idle()
        yield None

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default") as connection:
            sweep.row.write(connection, value)


class Reset(Write):
    """Write, and have the session reset after the commit."""

    options: dict[str, Any] = {"reset": True}  # noqa: RUF012 -- read only


class Close(Passage):
    """Say goodbye to an idle connection."""

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        _pool().close_idle()


class HalfRead(Passage):
    """Leave rows unread at the end of the lease, and hold what would read them."""

    @contextlib.contextmanager
    def place(self, sweep: Sweep) -> Iterator[Any]:
        yield []

    def act(self, sweep: Sweep, place: Any, value: str) -> None:
        with taskconn.lease("default") as connection:
            place.append(sweep.row.half_read(connection))


PASSAGES: dict[str, Passage] = {
    **{f"ask{way}": Ask(way, 12) for way in range(4)},
    "write": Write(),
    "fail": Fail(),
    "many": Many(),
    "by hand": ByHand(),
    "refused": Refused(),
    "check": Check(),
    "open": Open(),
    "reset": Reset(),
    "close": Close(),
    "half read": HalfRead(),
}


def passages_of(row: Row) -> list[str]:
    """Name the passages that *row* can go through."""
    left_out = {"many", "by hand", "refused", "fail"} if not row.driver.transactional else set()
    return [name for name in PASSAGES if name not in left_out and name not in row.not_swept]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("row")
    parser.add_argument("url")
    parser.add_argument("--passages")
    parser.add_argument("--points", type=int)
    given = parser.parse_args()
    logging.getLogger("taskconn").setLevel(logging.ERROR)
    add_interrupts((Interrupt,))  # as the task systems do with their limits
    row = SWEPT[given.row]
    sweep = Sweep(row, given.url)
    signal.signal(signal.SIGUSR1, noting(sweep.bolt.raise_interrupt))
    sys.unraisablehook = sweep.bolt.lose
    gc.disable()  # a collection would come at another point each time
    for name in given.passages.split(",") if given.passages else passages_of(row):
        sweep.run(name, given.points)
        gc.collect()
    print(json.dumps({"counts": sweep.counts, "findings": sweep.findings, "late": sweep.late}), flush=True)
    os._exit(0)  # what interrupted constructors have left is not worth its complaints


if __name__ == "__main__":
    main()
