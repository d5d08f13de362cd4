"""Strikes once, by a real signal, at a chosen point of what runs; and finds the points."""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import taskconn
from taskconn._shield import Shield

#: What the sweep itself runs is not swept.
_OWN = {str(path) for path in Path(__file__).parent.glob("*.py")}


class Interrupt(Exception):  # noqa: N818 -- like a soft time limit, it is no error of the program's
    """Strike at a chosen point."""


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
    return int(pool().stats()["commits"])


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


def pool() -> Any:
    """Give the pool of the swept alias."""
    return taskconn._registry.default_registry().pool("default")
