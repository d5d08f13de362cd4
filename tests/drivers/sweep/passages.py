"""What a task does with a connection, and what has to be true afterwards: the passages of the sweep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import taskconn
from taskconn.errors import TaintedConnectionError
from tests.drivers.rows import Row
from tests.drivers.sweep.bolt import pool
from tests.drivers.sweep.judge import Passage, Sweep, Wrong


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
        pool().close_idle()
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
        pool().close_idle()


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
