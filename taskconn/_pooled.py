"""One connection in a pool, with what the pool remembers of it; the pool itself is `_pool.py`."""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from . import _process
from ._generation import current as generation
from ._interrupts import errors_ignored
from ._process import Owner, Socket, Thread, current_runner
from .driver import Driver, Session

C = TypeVar("C")

#: A connection used less than so many seconds ago is taken for alive, unseen; shorter intervals in the options win.
FRESH_S = 0.5


class Pooled(Generic[C]):
    """
    Hold one connection of a pool. Its counters are written by the one lease that holds it, so they need no lock.

    Attributes:
        connection: What the driver opened.
        session: What the driver knows of it without a round trip.
        owner: Process that opened it.
        sockets: Its sockets, as recorded at open and before the last fork.
        identity: The server's id of the session; None if there is none, or it says nothing (a pooler's).
        opened_at: Monotonic time, in seconds, when it had been opened.
        limits: What the server was told of deadlines; see `_deadlines.py`.
        port: Port of its socket on this side, as the server sees it if nothing stands between; 0 for a Unix socket.
        expires_at: Monotonic time, in seconds, after which it is replaced.
        used_at: Monotonic time when it was given back after something was said to it, or when the server last answered.
        fresh_until: Until then it is handed out without any check.
        holder: Who holds it: a function's name, or a code object and the place in its bytecode (to find the line there
            takes longer than a lease); None while it is idle.
        taken_at: Monotonic time since when.
        held_by: Weak reference to the runner whose proxy keeps it; None if no proxy does.
        generation: Number that said, when it was opened, which generation of connections is in use; see `_generation`.
        is_lent: A lease uses what a proxy keeps.
        is_gone: It was closed or dropped.
        is_suspect: Another connection of the alias was lost: the server is asked before this one is handed out.
    """

    __slots__ = (
        "__weakref__",
        "commits",
        "connection",
        "expires_at",
        "fresh_until",
        "generation",
        "held_by",
        "holder",
        "identity",
        "is_gone",
        "is_lent",
        "is_suspect",
        "leases",
        "limits",
        "opened_at",
        "owner",
        "port",
        "rollbacks",
        "session",
        "sockets",
        "taken_at",
        "used_at",
    )

    def __init__(
        self, connection: C, session: Session, owner: Owner, now: float, expires_at: float, fresh_s: float
    ) -> None:
        self.connection = connection
        self.session = session
        self.owner = owner
        self.sockets: list[Socket] = []
        self.identity: str | None = None
        self.port: int | None = None
        self.limits: Any = None
        self.opened_at = now
        self.generation = generation[0]
        self.expires_at = expires_at
        self.used_at = now
        self.fresh_until = min(now + fresh_s, expires_at)
        self.holder: object = None
        self.held_by: weakref.ref[Any] | None = None
        self.is_lent = False
        self.taken_at = now
        self.is_gone = False
        self.is_suspect = False
        self.leases = 0
        self.commits = 0
        self.rollbacks = 0

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "idle" if self.holder is None else "leased"
        return f"<Pooled {self.session.alias!r} of process {self.owner.pid}, {state}>"

    def __del__(self) -> None:
        # Who held it has forgotten it, so nothing settles what was sent: the server rolls back as the socket closes.
        # An interrupt in the constructor leaves one without a holder.
        if (
            getattr(self, "holder", None) is not None
            and self.held_by is None
            and not self.is_gone
            and self.owner is _process.owner()
        ):
            held = f"{self.session.alias!r} was never given back; held by {self.describe_holder(time.monotonic())}"
            warnings.warn(f"connection {held}", ResourceWarning, stacklevel=2, source=self)

    @property
    def is_own_proxys(self) -> bool:
        """Is it kept by a proxy of the calling runner, and not lent to a lease?"""
        return self.held_by is not None and not self.is_lent and self.held_by() is current_runner()

    @property
    def is_quiet_proxys(self) -> bool:
        """Is it kept by a proxy that does nothing with it now? Of another thread's nobody knows."""
        runner = None if self.held_by is None or self.is_lent else self.held_by()
        is_near = runner is current_runner() or type(runner) is not Thread  # greenlets and asyncio's tasks take turns
        return runner is not None and is_near and not self.session.pending

    def suspect(self, *, is_silent: bool) -> None:
        """Have the server asked before this one is handed out again; where it *is_silent*, have it replaced unasked."""
        self.is_suspect = True
        self.fresh_until = 0.0
        if is_silent:
            self.expires_at = 0.0

    def record_sockets(self, driver: Driver[C]) -> None:
        """Record the connection's sockets; what was known stays if the driver can't tell now (a query elsewhere)."""
        with errors_ignored():
            self.sockets = [socket for fd in driver.sockets(self.connection) if (socket := Socket.of(fd)) is not None]

    def describe_holder(self, now: float) -> str:
        """Say who holds the connection and for how long: ``shop.tasks.pay for 3.2 s``."""
        holder = self.holder
        if isinstance(holder, tuple):
            code, place = holder
            line = next((line for start, end, line in code.co_lines() if start <= place < end), None)
            holder = f"{code.co_name} ({code.co_filename}:{line})"
        return f"{holder or 'nobody'} for {now - self.taken_at:.1f} s"


def describe_holders(connections: Iterable[Pooled[Any]], now: float) -> str:
    """Say who holds each of *connections*; without any, they are being opened."""
    return ", ".join(pooled.describe_holder(now) for pooled in connections) or "connections being opened"
