"""The proof: what was promised, as numbers, and what the database says of each when it is asked afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .databases import Database
from .history import Kill


@dataclass(frozen=True)
class Claim:
    """
    Compare one promised number with the one found.

    Attributes:
        text: What is counted.
        expected: How many there have to be.
        found: How many there are; None where the database can't tell.
    """

    text: str
    expected: int
    found: int | None

    @property
    def holds(self) -> bool:
        """Is it as promised, or not to be told?"""
        return self.found is None or self.found == self.expected

    @property
    def shown(self) -> str:
        """What was found, for the reader."""
        return "not applicable" if self.found is None else f"{self.found:,}"

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"WRONG"``, or ``"-"``."""
        if self.found is None:
            return "-"
        return "ok" if self.holds else "WRONG"


def prove(
    database: Database, systems: Sequence[str], *, tasks: int, parents: int, kills: Sequence[Kill]
) -> list[Claim]:
    """
    Ask *database* for everything that was promised.

    Args:
        database: Where the workers have written to.
        systems: Task systems that have run.
        tasks: How many tasks each of them was given.
        parents: How many parents there were, over all systems.
        kills: Attempts that were killed after their INSERT.
    """
    claims = [_rows_of(database, system, tasks) for system in systems]
    claims.append(Claim("children killed inside a transaction", len(systems), len(kills)))
    claims.append(Claim("rows that killed attempts have left", 0, sum(_rows_by(database, kill) for kill in kills)))
    transactions = "parents' transactions, open across the forks" if database.has_sessions else "parents' transactions"
    claims.append(Claim(f"{transactions}, committed", parents, _count(database, "FROM parent")))
    shared = "FROM (SELECT session FROM car GROUP BY session HAVING COUNT(DISTINCT pid) > 1) AS shared"
    of_parents = "FROM car WHERE session IN (SELECT session FROM parent)"
    for text, clause in (
        ("sessions that two processes shared", shared),
        ("rows that came by a parent's session", of_parents),
    ):
        claims.append(Claim(text, 0, _count(database, clause) if database.has_sessions else None))
    return claims


def _rows_of(database: Database, system: str, tasks: int) -> Claim:
    """Count the tasks that have exactly one row; a task with two is not counted, nor is one with none."""
    once = f"FROM (SELECT number FROM car WHERE system = '{system}' GROUP BY number HAVING COUNT(*) = 1) AS once"
    return Claim(f"{system}: tasks with exactly one row", tasks, _count(database, once))


def _rows_by(database: Database, kill: Kill) -> int:
    return _count(database, f"FROM car WHERE system = '{kill.system}' AND pid = {kill.pid} AND number = {kill.number}")


def _count(database: Database, clause: str) -> int:
    return int(database.query(f"SELECT COUNT(*) {clause}")[0][0])
