"""What a child process needs, with taskconn and without."""

from __future__ import annotations

from collections.abc import Iterator

from ..harness import Case, Column, Table
from ..programs.talk import talk_to
from ..stage import Stage


def cases(stage: Stage) -> Iterator[Case]:
    """Give two client libraries."""
    postgresql = f"{stage.postgresql.url('bench')}?sslmode=disable"
    for name, url in (("PyMySQL", stage.mariadb.url()), ("psycopg", postgresql)):
        contenders = {
            by: lambda word=word, url=url: talk_to("children", word, url)  # type: ignore[misc]
            for by, word in (("a global connection", "nothing"), ("taskconn", "taskconn"))
        }
        yield Case(f"a forked child, {name}", contenders)


TABLE = Table(
    name="memory",
    title="Memory of a child",
    text="""
A process that has imported what it needs forks a child, which opens a connection and runs ten tasks. The child's own
memory is what it does not share with its parent (USS); the parent's is all that it has (RSS).
""",
    columns=(Column("uss_kb", "the child's own, KB", 0), Column("rss_kb", "the parent, KB", 0)),
    cases=cases,
    rounds=5,
)
