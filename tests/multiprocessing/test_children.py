"""Children of multiprocessing and concurrent.futures on a real MariaDB, by every start method."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from examples.servers import MySQLServer
from tests.support.databases import MySQLDatabase
from tests.support.process import Script

#: Longest wait for what is only a matter of milliseconds, in seconds.
_PATIENCE_S = 30.0

#: The article's program: ten processes insert over what looks like one global connection.
_ARTICLE = """
import multiprocessing, signal
from tests.multiprocessing.programs import conn, insert_by_proxy, note

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # the test's word to go on
note(conn, "parent")
session = conn.thread_id()
context = multiprocessing.get_context("fork")
children = [context.Process(target=insert_by_proxy, args=(200,)) for _ in range(10)]
for child in children:
    child.start()
for child in children:
    child.join()
print("exit codes", sorted({child.exitcode for child in children}), flush=True)
with conn.cursor() as cursor:
    cursor.execute("SELECT CONNECTION_ID(), (SELECT COUNT(*) FROM seen WHERE name = 'parent')")
    print("same session", cursor.fetchone() == (session, 1), flush=True)
signal.sigwait({signal.SIGUSR1})
conn.commit()
"""

#: Started by `Pool`, ended by SIGTERM, as `with Pool(...)` does.
_TERMINATED = """
import multiprocessing, os
import taskconn.multiprocessing
from tests.multiprocessing import programs

context = multiprocessing.get_context("fork")
programs.barrier = context.Barrier(3)
with context.Pool(3, initializer=taskconn.multiprocessing.initializer) as pool:
    pool.map(programs.insert_when_all_are_there, range(3), chunksize=1)
"""

#: A main module that configures nothing.
_SPAWNED = """
import concurrent.futures, multiprocessing, os
import taskconn.multiprocessing
from tests.multiprocessing import programs

if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=taskconn.multiprocessing.initializer,
        initargs=({"default": os.environ["TEST_DATABASE_URL"]},),
    ) as executor:
        list(executor.map(programs.insert, [0]))
"""

#: Two tasks that need a connection, and can't have one.
_FAILING = """
import multiprocessing, os
import taskconn.multiprocessing
from tests.multiprocessing import programs

databases = eval(os.environ["TEST_DATABASES"])
context = multiprocessing.get_context("fork")
with context.Pool(1, initializer=taskconn.multiprocessing.initializer, initargs=(databases,)) as pool:
    failures = pool.map(programs.failure, range(2))
print("raised:", *failures)
"""


@pytest.fixture
def database(mysql_database: MySQLDatabase) -> MySQLDatabase:
    """Give a database with the table ``seen``, one row for each note of the programs."""
    mysql_database.query(
        "CREATE TABLE seen (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80), pid INT, session BIGINT)"
    )
    return mysql_database


@pytest.fixture
def run(database: MySQLDatabase, script: Callable[..., Script]) -> Callable[..., Script]:
    """Give a function that starts a program whose modules are configured for the database."""

    def start(command: str | list[str], **options: Any) -> Script:
        environ = {"TEST_DATABASE_URL": database.url, "TEST_CONFIGURES": "1"} | options.pop("environ", {})
        return script(command, environ=environ, **options)

    return start


@pytest.fixture
def aborted(mariadb: MySQLServer) -> Callable[[], int]:
    """Give a function that counts the clients that have gone without a goodbye since the test began."""

    def count() -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while mariadb.sessions():
            assert time.monotonic() < deadline, mariadb.sessions()
            time.sleep(0.01)
        return mariadb.status("Aborted_clients")

    before = count()
    return lambda: count() - before


def _sessions(database: MySQLDatabase, name: str = "child") -> dict[int, set[int]]:
    """Tell which processes used each session."""
    found: dict[int, set[int]] = {}
    for session, pid in database.query("SELECT session, pid FROM seen WHERE name = %s", name):
        found.setdefault(session, set()).add(pid)
    return found


def test_program_of_the_article(
    database: MySQLDatabase, run: Callable[..., Script], aborted: Callable[[], int]
) -> None:
    """Ten processes over one global `conn`: each has its session, and the parent's transaction is its own."""
    program = run(_ARTICLE)
    program.wait_for("same session True", 60)

    assert "exit codes [0]" in program.output
    assert database.query("SELECT COUNT(*) FROM seen") == [(2000,)], "the parent's row is not committed yet"
    sessions = _sessions(database)
    assert len(sessions) == 10
    assert {len(pids) for pids in sessions.values()} == {1}
    program.stop(signal.SIGUSR1)
    assert list(_sessions(database, "parent").values()) == [{program.pid}]
    assert not sessions.keys() & _sessions(database, "parent").keys()
    assert database.query("SELECT COUNT(*) FROM seen") == [(2001,)]
    assert aborted() == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Process", "Pool", "ProcessPoolExecutor"])
def test_child_has_its_own_session_and_closes_it_politely(
    database: MySQLDatabase, run: Callable[..., Script], aborted: Callable[[], int], kind: str, method: str
) -> None:
    """With the initializer and without, by every start method: no session in two processes, a goodbye from each."""
    run([sys.executable, "-m", "tests.multiprocessing.programs", kind, method]).succeed(60)

    sessions = _sessions(database)
    assert sum(1 for _ in database.query("SELECT id FROM seen WHERE name = 'child'")) == (
        15 if kind == "Process" else 30
    )
    assert {len(pids) for pids in sessions.values()} == {1}
    ((parent, pids),) = _sessions(database, "parent").items()
    assert parent not in sessions
    assert pids.isdisjoint(set.union(*sessions.values()))
    assert aborted() == 0


def test_terminated_pool_leaves_no_session(database: MySQLDatabase, run: Callable[..., Script]) -> None:
    """`with Pool(...)` kills its children: the system closes their sockets, and the server ends their sessions."""
    run(_TERMINATED).succeed()

    sessions = _sessions(database)
    assert len(sessions) == 3
    deadline = time.monotonic() + 30
    while left := sessions.keys() & {session.id for session in database.sessions()}:
        assert time.monotonic() < deadline, left


def test_initializer_opens_eagerly(database: MySQLDatabase, run: Callable[..., Script]) -> None:
    """A child's first task finds its connection open; without the initializer it does not."""
    source = """
import multiprocessing, os
import taskconn.multiprocessing
from tests.multiprocessing import programs

for initializer in (taskconn.multiprocessing.initializer, None):
    pool = multiprocessing.get_context("fork").Pool(1, initializer=initializer)
    print(pool.map(programs.opens, [0]))
    pool.close()
    pool.join()
"""

    assert run(source).succeed().splitlines() == ["[1]", "[0]"]


def test_spawned_child_has_its_settings_from_initargs(database: MySQLDatabase, run: Callable[..., Script]) -> None:
    """They are pickled: nothing has to be configured at import, nor in the environment."""
    run(_SPAWNED, environ={"TEST_CONFIGURES": ""}).succeed()

    assert len(_sessions(database)) == 1


@pytest.mark.parametrize(
    ("databases", "message"),
    [
        ("{'default': 'mysqll://app:hunter2@db/shop'}", "starts with 'mysqll', which no driver answers to"),
        ("{'default': {'url': 'mysql://app:hunter2@db/shop', 'max_agee': 1}}", "has an option 'max_agee' that nobody"),
        ("['mysql://app:hunter2@db/shop']", "settings are of type list where a mapping of aliases was expected"),
    ],
    ids=["scheme", "option", "type"],
)
def test_malformed_settings_are_raised_by_each_lease(run: Callable[..., Script], databases: str, message: str) -> None:
    """An initializer that raises would make `Pool` start children without end; so the lease says what is wrong."""
    output = run(_FAILING, environ={"TEST_CONFIGURES": "", "TEST_DATABASES": databases}).succeed()

    logged, _, raised = output.partition("raised:")
    assert message in logged
    assert raised.count(message) == 2
    assert "hunter2" not in output


def test_server_that_is_down_is_logged_and_raised_by_the_lease(run: Callable[..., Script]) -> None:
    """Only the tasks that need it fail."""
    databases = "{'default': 'mysql://app:hunter2@127.0.0.1:1/shop'}"

    output = run(_FAILING, environ={"TEST_DATABASES": databases}).succeed()

    logged, _, raised = output.partition("raised:")
    assert "connection 'default': opening it early in process" in logged
    assert raised.count("Connection 'default' to 127.0.0.1:1 could not be opened") == 2
    assert "hunter2" not in output
