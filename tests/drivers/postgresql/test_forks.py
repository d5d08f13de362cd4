"""Both PostgreSQL drivers: a child leaves a lease alone in the middle of which it was forked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.process import Script

_FORK_IN_BLOCK = """
import gc, json, os, sys
import taskconn
from tests.drivers.postgresql.clients import value

url, action = sys.argv[1:]
cars = taskconn.Registry().add("cars", url)
with taskconn.lease(cars) as db:
    before = value(db, "SELECT pg_backend_pid()")
    db.cursor().execute("INSERT INTO car VALUES (1, 'parent')")
    cursor = db.cursor("half")
    cursor.execute("SELECT generate_series(1, 1000)")
    pid = os.fork()
    if pid == 0:
        if action == "use":
            for call in (db.commit, db.rollback, lambda: cursor.fetchone(), lambda: value(db, "SELECT 1"), db.cancel):
                try:
                    call()
                    os._exit(1)
                except taskconn.errors.InheritedConnectionError:
                    pass
            with taskconn.lease(cars) as own:
                assert value(own, "SELECT pg_backend_pid()") != before
            cars.registry.close()
            os._exit(0)
        elif action == "close":
            cursor.close()
            db.close()
            os._exit(0)
        elif action == "collect":
            del cursor, db
            gc.collect()
            os._exit(0)
        elif action == "sys.exit":
            sys.exit(0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(cursor.fetchall()) == 1000
    assert value(db, "SELECT pg_backend_pid()") == before
with taskconn.lease(cars) as db:
    assert value(db, "SELECT pg_backend_pid()") == before
    print(json.dumps(value(db, "SELECT name FROM car")))
cars.registry.close()
"""


@pytest.mark.parametrize("action", ["use", "close", "collect", "sys.exit", "os._exit"])
def test_child_in_the_middle_of_a_lease_leaves_it_alone(url: str, script: Callable[..., Script], action: str) -> None:
    """The parent's transaction and its server-side cursor go on, whatever a child does with them."""
    output = script(_FORK_IN_BLOCK, url, action).succeed()

    assert output.splitlines() == ['"parent"']
