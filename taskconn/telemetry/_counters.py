"""The counters of one alias in one process."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import ClassVar, Protocol


class Counted(Protocol):
    """Count what was done with one connection, by the one that holds it."""

    leases: int
    commits: int
    rollbacks: int
    holder: object


class Counters:
    """
    Count what happened to the connections of one alias in this process, since it started.

    Each counter is written under the pool's lock, or by the one thread that holds the connection. `leases` is
    added up from the connections by the pool, for a lock there would cost more than the lease.
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        "opens",
        "failed_opens",
        "closes",
        "invalidations",
        "discards",
        "leases",
        "commits",
        "rollbacks",
        "taints",
        "recycles",
        "waits",
        "health_checks",
    )
    __slots__ = NAMES

    opens: int
    failed_opens: int
    closes: int
    invalidations: int
    discards: int
    leases: int
    commits: int
    rollbacks: int
    taints: int
    recycles: int
    waits: int
    health_checks: int

    def __init__(self) -> None:
        for name in self.NAMES:
            setattr(self, name, 0)

    def keep(self, connection: Counted) -> None:
        """Add what a connection that is about to go has counted."""
        self.leases += connection.leases
        self.commits += connection.commits
        self.rollbacks += connection.rollbacks

    def as_dict(self, connections: Iterable[Counted] = ()) -> dict[str, int]:
        """Give the counters by name, with what *connections* have counted so far; ``open`` and ``leased`` are these."""
        return dict(zip(_ALL, self.numbers(connections), strict=True))

    def numbers(self, connections: Iterable[Counted]) -> tuple[int, ...]:
        """Give the same without the names: Celery's children ask for it after every task."""
        leases, commits, rollbacks, number, leased = self.leases, self.commits, self.rollbacks, 0, 0
        for connection in connections:
            leases += connection.leases
            commits += connection.commits
            rollbacks += connection.rollbacks
            number += 1
            leased += connection.holder is not None
        return (*_first_of(self), leases, commits, rollbacks, *_last_of(self), number, leased)


_ALL = (*Counters.NAMES, "open", "leased")
_first_of = operator.attrgetter(*Counters.NAMES[: Counters.NAMES.index("leases")])
_last_of = operator.attrgetter(*Counters.NAMES[Counters.NAMES.index("rollbacks") + 1 :])
