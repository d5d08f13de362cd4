"""psycopg 3: a child leaves its parent's blocks and streams alone."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.databases import PostgreSQLDatabase
from tests.support.process import Script

_CHILD_IN_BLOCKS = """
import gc, os, sys
import taskconn

cars = taskconn.Registry().add("cars", sys.argv[1])
with taskconn.lease(cars) as db:
    rows = db.cursor().stream("SELECT pg_sleep(0.001) FROM generate_series(1, 500)")
    next(rows)
    pid = os.fork()
    if pid == 0:
        del rows  # psycopg would cancel the query, over a connection of its own
        gc.collect()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(list(rows)) == 499
    for left_by in ("return", "sys.exit"):
        pid = 1
        with db.transaction():
            db.execute("INSERT INTO car VALUES ('Volvo')")
            pid = os.fork()
            if pid == 0 and left_by == "sys.exit":
                sys.exit(7)
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
with taskconn.lease(cars) as db:
    print(db.execute("SELECT count(*) FROM car").fetchone())
cars.registry.close()
"""


def test_child_leaves_blocks_and_streams_of_its_parent_alone(
    script: Callable[..., Script], postgresql_database: PostgreSQLDatabase
) -> None:
    """Leaving a block in a child is silent and hides nothing; rows that it drops do not cancel the parent's query."""
    postgresql_database.query("CREATE TABLE car (name TEXT)")

    output = script(_CHILD_IN_BLOCKS, postgresql_database.url).succeed()

    assert output.splitlines() == ["(2,)"]
