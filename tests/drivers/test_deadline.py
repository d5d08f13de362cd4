"""The task's remaining time, told to the server and kept by a thread: a limit is heard in the middle of a statement."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.drivers.test_cancel import PLACES, Place, Scene
from tests.support.process import Script

#: A task whose limit a signal throws after so many seconds, and what it sees of it.
PROGRAM = """
import json, logging, os, signal, sys, time
import taskconn
from taskconn import _context, _deadlines
from taskconn._interrupts import add_interrupts

settings, limit_s, words = json.loads(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
logging.basicConfig(level="DEBUG", format="%(levelname)s %(message)s")

class Limit(Exception): pass

def strike(*_): raise Limit("late")
signal.signal(signal.SIGALRM, strike)
add_interrupts((Limit,))
taskconn.configure({"default": settings})
now = None
_context.register(lambda: now)

def begin(limit_s):
    global now
    deadline = time.monotonic() + limit_s if limit_s else None
    now = _context.TaskContext(key=object(), system="test", task_id="1", name="task", deadline=deadline)

def run(db, statement):
    if "sqlalchemy" in settings["url"]:
        from sqlalchemy import text
        found = db.execute(text(statement))
        return found.fetchall() if found.returns_rows else []
    cursor = db.cursor()
    cursor.execute(statement)
    return cursor.fetchall() if cursor.description else []

def say(*words):  # in one write: other threads log to the same place
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def values(question):
    with taskconn.lease() as db:
        return [float(value) for value in run(db, question)[0]]
"""

HEARD = """
if "no-variable" in words:
    _deadlines._QUESTIONS.clear()
with taskconn.lease() as db:  # opened, and all that is imported by that
    run(db, "SELECT 1")
begin(limit_s)
signal.setitimer(signal.ITIMER_REAL, limit_s)
started = time.monotonic()
try:
    with taskconn.lease() as db:
        try:
            run(db, words[0])
        except BaseException as error:
            say("SEEN", type(error).__name__, round(time.monotonic() - started, 2))
            raise
except Limit:
    say("LEFT BY", "Limit")
begin(None)
with taskconn.lease() as db:
    say("AFTER", run(db, "SELECT 41 + 1")[0][0])
"""

TOLD = """
begin(limit_s)
say("LEASE", values(words[0]))
begin(None)
say("NEXT", values(words[0]))
begin(limit_s)
with taskconn.lease() as db:
    pass
begin(None)
say("AFTER NOTHING", values(words[0]))
begin(limit_s)
try:
    with taskconn.lease() as db:
        run(db, "SELECT 1")
        1 / 0
except ZeroDivisionError:
    pass
begin(None)
say("AFTER FAILURE", values(words[0]))
"""

KILLED = """
begin(limit_s)
with taskconn.lease() as db:
    db.autocommit(True) if callable(db.autocommit) else setattr(db, "autocommit", True)
    run(db, words[0])
"""

_SLEEPS = {"mysql_database": "SELECT SLEEP(4)", "postgresql_database": "SELECT 1 FROM pg_sleep(4)"}
_VARIABLES = {
    "mysql_database": "SELECT @@max_statement_time",
    "postgresql_database": "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'",
}
_WAYS: dict[str, Place] = {
    **PLACES,
    "sqlalchemy-mysqldb": Place("sqlalchemy+mysql+mysqldb", *PLACES["pymysql"].rest),
    "sqlalchemy-psycopg2": Place("sqlalchemy+postgresql+psycopg2", *PLACES["psycopg"].rest),
}
_COUNT = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000000000) SELECT count(*) FROM c"


def _url(place: Place, request: pytest.FixtureRequest) -> str:
    if "mysqldb" in place.scheme:
        pytest.importorskip("MySQLdb")
    url: str = request.getfixturevalue(place.fixture).url
    return f"{place.scheme}://{url.partition('://')[2]}"


def _hear(start: Callable[..., Script], url: str, statement: str, *words: str) -> Script:
    program = start(PROGRAM + HEARD, json.dumps({"url": url, "deadline": True}), "0.5", statement, *words)
    seen = program.wait_for(r"^SEEN (\w+) ([\d.]+)", 60)
    assert seen[1] == "Limit", program.output
    assert 0.5 <= float(seen[2]) < 2, program.output
    program.wait_for("^LEFT BY Limit")
    program.wait_for("^AFTER 42")
    assert program.wait(60) == 0, program.output
    return program


@pytest.mark.parametrize("way", _WAYS)
def test_limit_is_heard_in_the_middle_of_a_statement(
    way: str, script: Callable[..., Script], request: pytest.FixtureRequest
) -> None:
    """A limit of 0.5 s is heard before half of a statement of 4 s, as itself, also where the client waits in C."""
    place = _WAYS[way]

    _hear(script, _url(place, request), _SLEEPS[place.fixture])


@pytest.mark.parametrize("way", ["sqlalchemy-mysqldb", "psycopg2"])
def test_thread_cancels_where_the_server_has_no_such_setting(
    way: str, script: Callable[..., Script], request: pytest.FixtureRequest
) -> None:
    """Without a setting of the server's, as for writes in MySQL, a second session ends the statement in time."""
    place = _WAYS[way]

    program = _hear(script, _url(place, request), _SLEEPS[place.fixture], "no-variable")

    assert "a statement was ended at the server" in program.output


@pytest.mark.parametrize("scheme", ["sqlite", "sqlalchemy+sqlite"])
def test_limit_is_heard_in_sqlite(scheme: str, script: Callable[..., Script], tmp_path: Any) -> None:
    """SQLite has no server: the thread interrupts it."""
    _hear(script, f"{scheme}:///{tmp_path}/cars.db", _COUNT)


@pytest.mark.parametrize("way", _WAYS)
def test_server_is_told_for_the_lease_alone(
    way: str, script: Callable[..., Script], request: pytest.FixtureRequest
) -> None:
    """The server knows the remaining time and a bit during the lease, and what it knew before when that has ended."""
    place = _WAYS[way]
    per_s = 1 if place.fixture == "mysql_database" else 1000
    settings = json.dumps({"url": _url(place, request), "deadline": True, "max_size": 1})

    program = script(PROGRAM + TOLD, settings, "20", _VARIABLES[place.fixture])

    assert program.wait(60) == 0, program.output
    (told,) = json.loads(program.wait_for(r"^LEASE (.*)$")[1])
    assert 15 * per_s < told <= 20.1 * per_s
    for name in ("NEXT", "AFTER NOTHING", "AFTER FAILURE"):
        assert json.loads(program.wait_for(rf"^{name} (.*)$")[1]) == [0], program.output
    assert program.output.count("opened in process") == 1


@pytest.mark.parametrize("way", ["pymysql", "mysqldb", "psycopg", "psycopg2"])
def test_shorter_setting_of_the_users_own_stays(
    way: str, script: Callable[..., Script], request: pytest.FixtureRequest
) -> None:
    """A setting that is stricter than the task's limit is left as it is, and one that is not is put back."""
    place = PLACES[way]
    is_mysql = place.fixture == "mysql_database"
    strict = "init_command=SET max_statement_time=7" if is_mysql else "options=-c statement_timeout=7000"
    settings = json.dumps({"url": f"{_url(place, request)}?{strict.replace(' ', '%20')}", "deadline": True})

    longer = script(PROGRAM + TOLD, settings, "20", _VARIABLES[place.fixture])
    shorter = script(PROGRAM + TOLD, settings, "3", _VARIABLES[place.fixture])

    theirs = 7 if is_mysql else 7000
    for program in (longer, shorter):
        assert program.wait(60) == 0, program.output
        for name in ("NEXT", "AFTER NOTHING", "AFTER FAILURE"):
            assert json.loads(program.wait_for(rf"^{name} (.*)$")[1]) == [theirs]
    assert json.loads(longer.wait_for(r"^LEASE (.*)$")[1]) == [theirs]
    assert json.loads(shorter.wait_for(r"^LEASE (.*)$")[1])[0] < theirs


@pytest.mark.parametrize("way", ["pymysql", "mysqldb", "psycopg", "psycopg2"])
def test_server_ends_the_statement_of_a_task_that_was_killed(way: str, request: pytest.FixtureRequest) -> None:
    """Nobody is left to cancel when a process is killed; the server knows until when the task had time."""
    scene = Scene(way, request)
    settings = json.dumps({"url": _url(scene.place, request), "deadline": True, "transaction": "none"})
    program = request.getfixturevalue("script")(PROGRAM + KILLED, settings, "2", scene.place.insert.format(seconds=120))
    scene.wait(scene.running)

    program.send(signal.SIGKILL)
    program.wait()
    scene.wait(lambda: not scene.running())

    assert scene.rows() == 0
