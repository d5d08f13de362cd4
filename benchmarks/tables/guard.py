"""What the guard costs: at a fork with 50 descriptors, at an audit event of somebody else's, at a connect."""

from __future__ import annotations

from collections.abc import Iterator

from ..harness import Case, Column, Contender, Table
from ..programs.talk import talk_to
from ..stage import Stage

#: Case -> word of the program, and how many are done a round.
_CASES = {
    "a fork with 50 descriptors, 20 of them clients": ("fork", 100),
    "an audit event": ("audit", 300),
    "a connect over TCP": ("connect", 200),
}


def cases(stage: Stage) -> Iterator[Case]:
    """Give each without a guard, and in two modes; `raise` looks as `warn` does."""
    for name, (what, number) in _CASES.items():
        contenders = {"no guard": "none", "mode warn": "warn", "mode fence": "fence"}
        times = str(stage.times(number))
        yield Case(name, {by: _contender(mode, what, times) for by, mode in contenders.items()})


def _contender(*words: str) -> Contender:
    return lambda: talk_to("guard", *words)


TABLE = Table(
    name="guard",
    title="The guard",
    text="""
A process with 50 descriptors, 20 of them connections that the guard has seen before and that are allowed to cross. A
fork lists all of them; an audit event of somebody else's is a look into a dictionary; at a connect the calls that led
to it are kept. The child ends at once.
""",
    columns=(Column("us", "µs", 2),),
    cases=cases,
    rounds=7,
)
