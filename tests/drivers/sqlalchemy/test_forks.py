"""SQLAlchemy: a child leaves its parent's transaction alone, over SQLite too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drivers.sqlalchemy.cars import names, url_of
from tests.support.databases import MySQLDatabase
from tests.support.process import Script

_FORK = """
import gc, os, sys
from sqlalchemy import text
import taskconn

url, inject, *actions = sys.argv[1:]
taskconn.configure({"default": {"url": url, "inject": inject}})

def child(action, held, kept, session_id):
    try:
        if action == "use":
            kept.execute(text("INSERT INTO car (name) VALUES ('child')"))
    except Exception as error:
        print("child:", type(error).__name__, flush=True)
    if action == "close":
        kept.close()
    elif action == "dispose":
        (kept.connection() if inject == "session" else kept).engine.dispose()
    elif action == "own":
        with taskconn.lease() as own:
            own = own.connect() if inject == "engine" else own
            print("child: own", own.execute(text("SELECT CONNECTION_ID()")).scalar() != session_id, flush=True)
            if inject == "engine":
                own.close()

for action in actions:
    held = taskconn.lease()
    db = held.__enter__()
    kept = db.connect() if inject == "engine" else db
    kept.execute(text("INSERT INTO car (name) VALUES (:name)"), {"name": action})
    session_id = kept.execute(text("SELECT CONNECTION_ID()")).scalar()
    sys.stdout.flush()
    if os.fork() == 0:
        child(action, held, kept, session_id)
        if action == "os._exit":
            os._exit(0)
        if action == "drop":
            held = db = kept = None
            gc.collect()
        sys.exit(0)
    os.wait()
    print(action, kept.execute(text("SELECT CONNECTION_ID()")).scalar() == session_id)
    if inject == "engine":
        kept.commit()
        kept.close()
    held.__exit__(None, None, None)
"""

_ACTIONS = ["use", "close", "drop", "dispose", "own", "sys.exit", "os._exit"]


@pytest.mark.parametrize(
    ("driver", "inject"),
    [("pymysql", "session"), ("pymysql", "connection"), ("pymysql", "engine"), ("mysqldb", "session")],
    ids=["session", "connection", "engine", "mysqlclient"],
)
def test_child_leaves_its_parents_transaction_alone(
    cars: MySQLDatabase, driver: str, inject: str, script: Callable[..., Script]
) -> None:
    """A connection that is checked out at the fork is not rolled back by a child, whatever becomes of it there."""
    if driver == "mysqldb":
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")

    output = script(_FORK, url_of(cars, driver=driver), inject, *_ACTIONS).succeed(60)

    said = {"use": ["child: InheritedConnectionError"], "own": ["child: own True"]}
    assert output.splitlines() == [line for name in _ACTIONS for line in (*said.get(name, []), f"{name} True")]
    assert names(cars) == sorted(_ACTIONS, key=str.lower)


_SQLITE_FORK = """
import os, sys
from sqlalchemy import text
import taskconn

taskconn.configure({"default": "sqlalchemy+sqlite:///" + sys.argv[1]})
with taskconn.lease() as db:
    db.execute(text("CREATE TABLE car (name TEXT)"))
    db.execute(text("INSERT INTO car VALUES ('parent')"))
    if sys.argv[2] == "idle":
        db.commit()
    else:
        pid = os.fork()
if sys.argv[2] == "idle":
    pid = os.fork()
if pid == 0:
    try:
        with taskconn.lease() as db:
            db.execute(text("INSERT INTO car VALUES ('child')"))
    except Exception as error:
        print(type(error).__name__, flush=True)
    sys.exit(0)
os.wait()
with taskconn.lease() as db:
    print(db.execute(text("SELECT name FROM car")).scalars().all())
"""


@pytest.mark.parametrize(
    ("state", "said"),
    [("idle", ["['parent', 'child']"]), ("leased", ["InheritedFileError", "['parent']"])],
    ids=["idle", "leased"],
)
def test_sqlites_rules_apply_to_a_fork(
    tmp_path: Path, state: str, said: list[str], script: Callable[..., Script]
) -> None:
    """Idle connections are closed before a fork; a file that was in use then is refused in the child."""
    assert script(_SQLITE_FORK, str(tmp_path / "cars.db"), state).succeed().splitlines() == said
