"""What taskconn's hooks add to a fork."""

from __future__ import annotations

from collections.abc import Iterator

from ..harness import Case, Column, Table
from ..programs.talk import talk_to
from ..stage import Stage


def cases(stage: Stage) -> Iterator[Case]:
    """Give forks of a process with no, one and ten connections."""
    url, times = stage.mariadb.url(), str(stage.times(100))
    for number in (0, 1, 10):
        contenders = {
            by: lambda word=word, number=number: talk_to("forks", word, url, str(number), times)  # type: ignore[misc]
            for by, word in (("without taskconn", "nothing"), ("taskconn", "taskconn"))
        }
        yield Case(f"{number} connection{'s' * (number != 1)}", contenders)


TABLE = Table(
    name="fork",
    title="A fork, with the hooks",
    text="""
A process with open connections of PyMySQL forks, and waits for the child, which ends at once. Before a fork taskconn
notes where its sockets are; in the child it puts dead ones over them.
""",
    columns=(Column("whole_us", "µs", 0), Column("call_us", "µs of `os.fork()` alone", 0)),
    cases=cases,
    rounds=7,
)
