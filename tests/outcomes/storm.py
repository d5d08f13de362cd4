"""Random units of work under fire, for every driver, and what has to be in the database afterwards."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from taskconn import with_db
from taskconn.errors import TaintedConnectionError
from tests.drivers.rows import ROWS, Row

#: What may become of a unit's two values: both are there, none is, or, interrupted, either of that; never one alone.
PRESENT, ABSENT, EITHER = "present", "absent", "either"

#: Counts that must be 0.
FAULTS = ("wrong", "masked", "swallowed", "errors", "hangs", "half", "lost", "undone")


class _UndoneError(Exception):
    """Ask for a rollback."""


class Storm:
    """
    Do one unit of work after the other on one alias.

    Args:
        name: Name of the driver's row.
        lease: Decorator that gives a function its connection: `with_db`, or a control's.
        seed: All that is random comes of it.
        prefix: What the values of this storm begin with.
        interrupts: What may strike at any moment.

    Attributes:
        interrupts: As given.
        counts: What came of it.
        expected: Unit -> what has to become of its values.
        struck: What ended the last unit.
        swallowed: What the last unit has swallowed.
    """

    def __init__(
        self, name: str, lease: Callable[..., Any], seed: int, prefix: str, interrupts: tuple[type[BaseException], ...]
    ) -> None:
        self.row = ROWS[name]
        self.counts: Counter[str] = Counter()
        self.expected: dict[str, str] = {}
        self.struck: BaseException | None = None
        self.swallowed: BaseException | None = None
        self._chance = random.Random(seed)
        self._prefix = prefix
        self.interrupts = interrupts
        self._number = 0
        self._kinds = [
            (kind, lease(function))
            for kind, function in (
                ("ask", self._ask_once()),
                ("ask and swallow", self._ask_and_swallow()),
                ("commit", self._write_pair()),
                ("rollback", self._write_pair(undoes=True)),
            )
        ]

    def choose(self) -> tuple[str, Callable[[], str]]:
        """Choose the next unit: its kind, and a function that does it and says how it ended."""
        self._number += 1
        kind, function = self._chance.choice(self._kinds)
        unit = f"{self._prefix}-{self._number}"
        return kind, lambda: self._do(function, unit)

    def probe(self) -> str:
        """Ask once, undisturbed."""
        self._number += 1
        return self._do(self._kinds[0][1], f"{self._prefix}-{self._number}")

    def _do(self, function: Callable[..., None], unit: str) -> str:
        self.swallowed = None
        try:
            function(unit, self._number)
        except _UndoneError:
            pass
        except self.interrupts as interrupt:
            self.struck = interrupt
            return "interrupts"
        except Exception as error:  # noqa: BLE001 -- an interrupt was masked, or there was none
            if self.swallowed is None or not isinstance(error, TaintedConnectionError):
                return self._failed(error)
            self.counts["refused"] += 1
        else:
            if self.expected.get(unit) == EITHER:
                self.expected[unit] = PRESENT
        return "done" if self.swallowed is None else "interrupts"

    def _failed(self, error: BaseException) -> str:
        print(f"{self.row.name}, {self._prefix}: {error!r}", file=sys.stderr)
        traceback.print_exception(error, file=sys.stderr)
        return "failed"

    def _check(self, connection: Any, number: int) -> None:
        answer, right = self.row.ask(connection, number)
        self.counts["answers"] += 1
        if answer != right:
            self.counts["wrong"] += 1
            print(f"{self.row.name}, {self._prefix}: {str(answer)[:200]} for {str(right)[:200]}", file=sys.stderr)

    def _ask_once(self) -> Callable[..., None]:
        def ask(db: Any, unit: str, number: int) -> None:
            self._check(db, number)

        return ask

    def _ask_and_swallow(self) -> Callable[..., None]:
        def ask(db: Any, unit: str, number: int) -> None:
            try:
                self._check(db, number)
            except self.interrupts as interrupt:
                self.swallowed = interrupt
                self._check(db, number + 1)

        return ask

    def _write_pair(self, *, undoes: bool = False) -> Callable[..., None]:
        def write(db: Any, unit: str, number: int) -> None:
            self.expected[unit] = ABSENT if undoes else EITHER
            write_pair(self.row, db, unit, sends=not undoes)
            if undoes:
                raise _UndoneError

        return write


class _Dropped(logging.Handler):
    """Hear that a shield has dropped the limit, for the work was done: another one will not come."""

    has_come = False

    def emit(self, record: logging.LogRecord) -> None:
        self.has_come |= "came during a COMMIT that succeeded" in record.getMessage()


class Ignored:
    """
    Count what strikes destructors: Python ignores that, or the library's destructor does. No driver has swallowed it.

    Args:
        kinds: What strikes.

    Attributes:
        count: How many.
    """

    def __init__(self, *kinds: type[BaseException]) -> None:
        self.count = 0
        self._kinds = kinds or (BaseException,)
        self._hook = sys.unraisablehook
        self._handlers: dict[int, Any] = {}
        sys.unraisablehook = self._note

    def watch(self, *numbers: int) -> None:
        """Look where these signals strike, before they are handled as ever."""
        for number in numbers:
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._handle)

    def end(self) -> None:
        """Stop counting."""
        sys.unraisablehook = self._hook
        for number, handler in self._handlers.items():  # which stay: a signal may come in between
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        handler, caller = self._handlers[number], frame
        while caller is not None and caller.f_code.co_name != "__del__":
            caller = caller.f_back
        self.count += caller is not None
        handler(number, frame)

    def _note(self, unraisable: Any) -> None:
        self.count += isinstance(unraisable.exc_value, self._kinds)
        self._hook(unraisable)


def rage(storm: Storm, unit: str, limit_at: float, has_passed: Callable[[], bool], *, rests_until: float = 0.0) -> None:
    """
    Work until something strikes, let that through, and write down what came of it; called by tasks.

    What struck before the first line of this was none of the storm's, and the collector of garbage may have been at
    work: a busy machine keeps a process waiting for seconds.

    Args:
        storm: What to do.
        unit: Name for the book.
        limit_at: Monotonic time from which on it may strike.
        has_passed: Says whether nothing will strike any more.
        rests_until: Monotonic time until which nothing is done, once the connection is there.
    """
    counts, dropped, ignored = storm.counts, _Dropped(), Ignored(*storm.interrupts)
    logging.getLogger("taskconn").addHandler(dropped)
    ignored.watch(signal.SIGUSR1, signal.SIGALRM)
    is_late = has_passed() or time.monotonic() > limit_at
    looks = 0
    try:
        ended = storm.probe()
        if ended == "done":
            time.sleep(max(0.0, rests_until - time.monotonic()))
        while True:
            counts["masked"] += ended == "failed"
            if ended == "interrupts":
                raise storm.struck or storm.swallowed or AssertionError  # noqa: TRY301 -- as if it had struck here
            looks += has_passed()
            if dropped.has_come or ignored.count or looks > 1:  # a timer has rung a moment before its signal is heard
                break
            ended = storm.choose()[1]()
        counts["interrupts"] += dropped.has_come
        is_excused = ignored.count or is_late
        counts["dropped in COMMIT" if dropped.has_come else "unheard" if is_excused else "swallowed"] += 1
    except BaseException:
        counts["interrupts"] += 1
        raise
    finally:
        ignored.end()
        logging.getLogger("taskconn").removeHandler(dropped)
        line = json.dumps({"task": unit, "counts": counts, "expected": storm.expected})
        book = os.open(os.environ["OUTCOMES_BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(book, f"{line}\n".encode())
        os.close(book)


def write_pair(row: Row, connection: Any, unit: str, *, sends: bool) -> None:
    """Write two values that belong together; *sends* says of a client without transactions whether it sends them."""
    if row.driver.transactional:
        row.write(connection, f"{unit} a")
        row.write(connection, f"{unit} b")
        return
    with connection.pipeline() as pipe:  # of redis: MULTI
        row.write(pipe, f"{unit} a")
        row.write(pipe, f"{unit} b")
        if sends:
            pipe.execute()


def verdict(expected: Mapping[str, str], values: Iterable[str]) -> Counter[str]:
    """Compare what has to be there with what is: units of which half is there, lost ones, ones that were undone."""
    there = Counter(value.rpartition(" ")[0] for value in values)
    counts: Counter[str] = Counter()
    for unit, what in expected.items():
        counts["half"] += there[unit] == 1
        counts["lost"] += what == PRESENT and there[unit] == 0
        counts["undone"] += what == ABSENT and there[unit] > 0
        counts["committed, then interrupted"] += what == EITHER and there[unit] == 2
    counts["half"] += sum(number not in (1, 2) for number in there.values())
    counts["committed"] += sum(number == 2 for number in there.values())
    return counts


def leased(alias: Any) -> Callable[..., Any]:
    """Give the decorator that taskconn's users write."""
    decorate: Callable[..., Any] = with_db(alias)
    return decorate
