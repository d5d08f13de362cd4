"""The statement that goes on: what an interrupt has cut off at the client is ended at the server, too."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.process import Script

#: Interrupted by SIGALRM in an autocommitting INSERT, it says so and goes on living: the process's end proves nothing.
PROGRAM = """
import contextlib, json, logging, os, signal, sys, time
import taskconn
from taskconn._interrupts import add_interrupts

settings, way, statement, ending = json.loads(sys.argv[1]), *sys.argv[2:]
if ending == "exit":
    from taskconn import _cancel
    _cancel._END_S = 30.0  # a busy machine may take longer than the second that users wait at most
logging.basicConfig(level="DEBUG", format="%(levelname)s %(message)s")
if way == "psycopg2":
    from psycopg2 import extensions, extras
    extensions.set_wait_callback(extras.wait_select)  # else C waits, and no signal strikes in a statement

class Interrupt(Exception): pass

def strike(*_): raise Interrupt
add_interrupts((Interrupt,))
signal.signal(signal.SIGALRM, strike)
taskconn.configure({"default": {**settings, "transaction": "none"}})

started = None
try:
    with taskconn.lease() as db:
        if way.startswith("sqlalchemy"):
            from sqlalchemy import text
            db = db.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            run = lambda words: db.execute(text(words))
        else:
            db.autocommit(True) if callable(db.autocommit) else setattr(db, "autocommit", True)
            run = db.cursor().execute
        run(statement)
except Interrupt:
    print("INTERRUPTED", flush=True)
if ending == "exit":
    sys.exit()
time.sleep(60)
"""


@dataclass(frozen=True)
class Place:
    """
    Where a statement runs for long.

    Attributes:
        scheme: Of the URL.
        fixture: Gives the database.
        insert: Writes a row after so many seconds.
        runs: Counts the sessions of the database that are in it.
    """

    scheme: str
    fixture: str
    insert: str
    runs: str

    @property
    def rest(self) -> tuple[str, str, str]:
        """Give all but the scheme."""
        return self.fixture, self.insert, self.runs


_MYSQL = (
    "mysql_database",
    "INSERT INTO slow SELECT SLEEP({seconds})",
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'INSERT%%'",
)
_POSTGRESQL = (
    "postgresql_database",
    "INSERT INTO slow SELECT 0 FROM pg_sleep({seconds})",
    (
        "SELECT COUNT(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'active' AND query LIKE 'INSERT%%'"
    ),
)
PLACES = {
    "pymysql": Place("mysql+pymysql", *_MYSQL),
    "mysqldb": Place("mysql+mysqldb", *_MYSQL),
    "mysqlconnector": Place("mysql+mysqlconnector", *_MYSQL),
    "psycopg": Place("postgresql+psycopg", *_POSTGRESQL),
    "psycopg2": Place("postgresql+psycopg2", *_POSTGRESQL),
    "sqlalchemy-pymysql": Place("sqlalchemy+mysql+pymysql", *_MYSQL),
    "sqlalchemy-psycopg": Place("sqlalchemy+postgresql+psycopg", *_POSTGRESQL),
}


class Scene:
    """A program in the middle of an autocommitting INSERT, and what the server knows of it."""

    def __init__(self, way: str, request: pytest.FixtureRequest) -> None:
        if way == "mysqldb":
            pytest.importorskip("MySQLdb")
        self.way, self.place = way, PLACES[way]
        self.database: Any = request.getfixturevalue(self.place.fixture)
        self._start: Callable[..., Script] = request.getfixturevalue("script")
        self.program: Script | None = None
        self.database.query("CREATE TABLE slow (n INT)")

    def begin(self, *, seconds: float, ending: str = "stay", url: str = "", **options: Any) -> Script:
        """Start the program, and wait until the server runs its statement."""
        url = url or self.database.url
        settings = {"url": f"{self.place.scheme}://{url.partition('://')[2]}", **options}
        statement = self.place.insert.format(seconds=seconds)
        program = self.program = self._start(PROGRAM, json.dumps(settings), self.way, statement, ending)
        self.wait(lambda: self.running() or program.returncode is not None)
        assert self.running(), program.output
        return program

    def running(self) -> int:
        """Count the sessions that are in the statement."""
        return int(self.database.query(self.place.runs)[0][0])

    def rows(self) -> int:
        """Count what was committed."""
        return int(self.database.query("SELECT COUNT(*) FROM slow")[0][0])

    def wait(self, is_so: Callable[[], Any], timeout_s: float = 40.0) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < deadline, self.program and self.program.output
            time.sleep(0.01)


@pytest.fixture(params=PLACES)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Give each driver's scene."""
    return Scene(request.param, request)


def test_interrupted_statement_is_ended_at_the_server(scene: Scene) -> None:
    """An autocommitting INSERT that an interrupt has cut off is ended at the server, and its row never comes."""
    program = scene.begin(seconds=120)

    program.send(signal.SIGALRM)
    program.wait_for("^INTERRUPTED")
    scene.wait(lambda: not scene.running())

    program.wait_for("a statement was ended at the server")
    assert scene.rows() == 0
    assert program.returncode is None


def test_process_that_ends_at_once_ends_its_statement(scene: Scene) -> None:
    """A process that ends right after the interrupt waits for the second session."""
    program = scene.begin(seconds=120, ending="exit")

    program.send(signal.SIGALRM)
    assert program.wait(60) == 0

    scene.wait(lambda: not scene.running())
    assert scene.rows() == 0, program.output


def test_without_cancel_the_statement_goes_on(scene: Scene) -> None:
    """With `cancel=False` nobody ends it: the server finishes, and commits, what nobody waits for any more."""
    program = scene.begin(seconds=2, cancel=False)

    program.send(signal.SIGALRM)
    program.wait_for("^INTERRUPTED")
    assert scene.running()
    scene.wait(lambda: not scene.running())

    assert scene.rows() == 1


def test_session_that_a_proxy_hides_is_left_alone(wire: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    """Where the server sees another port than the client's, the session may be somebody else's: nothing is ended."""
    scene = Scene("pymysql", request)
    proxy = wire(scene.database.server)
    there = f"@{scene.database.server.host}:{scene.database.server.port}/"
    program = scene.begin(seconds=2, url=scene.database.url.replace(there, f"@{proxy.host}:{proxy.port}/"))
    assert len(proxy.connections) == 1

    program.send(signal.SIGALRM)
    program.wait_for("a statement was not found at the server any more")
    scene.wait(lambda: not scene.running())

    assert scene.rows() == 1
