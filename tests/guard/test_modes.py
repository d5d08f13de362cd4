from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from examples import multiprocessing_app
from examples.servers import MariaDB, MySQLServer, PostgreSQLServer
from tests.guard.conftest import Report, arguments_of, reports
from tests.support.databases import MySQLDatabase, RedisDatabase
from tests.support.process import Script

Run = Callable[..., Script]

#: Forks twice, as a worker does with each child, and lets the parent's session live.
_FORKS = """
import os, sys
for _ in range(2):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
"""

_DB = "import os, json, pymysql\nwhere = json.loads(os.environ['WHERE'])\n\nconn = pymysql.connect(**where)\n"


def where(url: str) -> dict[str, str]:
    """Give the variable that programs of these tests read."""
    return {"WHERE": json.dumps(arguments_of(url))}


def test_warn_reports_a_connection_once_with_the_line_that_opened_it(run: Run, mariadb: MySQLServer) -> None:
    """Two forks, one report: what it is, where it leads, and which line of the user's opened it."""
    program = run({"shop/db.py": _DB, "main.py": "import shop.db\n" + _FORKS}, **where(mariadb.url()))

    assert reports(program.succeed()) == [
        Report("MySQL", f"127.0.0.1:{mariadb.port}", "opened at shop/db.py:4 in <module>")
    ]


def test_reports_show_no_secret(run: Run, mariadb: MySQLServer) -> None:
    """A report names kind, host, port and line, and no part of a password."""
    arguments = arguments_of(mariadb.url())

    output = run({"shop/db.py": _DB, "main.py": "import shop.db\n" + _FORKS}, **where(mariadb.url())).succeed()

    assert reports(output)
    assert arguments["password"] not in output


@pytest.mark.parametrize("guard", ["warn", "raise", "fence"])
def test_fork_does_not_fail_because_of_a_mistake_in_the_guard(run: Run, guard: str) -> None:
    """Whatever goes wrong in the look is logged; the fork is made, as without a guard."""
    source = """
import os
from taskconn._guard._clients import Scanner

Scanner.clients = None
child = os.fork()
if child == 0:
    os._exit(0)
print("child ended with", os.waitpid(child, 0)[1])
"""
    output = run({"main.py": source}, guard=guard).succeed()

    assert "child ended with 0" in output
    assert output.count("could not look at its connections") == 1


def test_raise_refuses_the_fork_in_the_parent(run: Run, mariadb: MySQLServer) -> None:
    """In mode `raise` `os.fork` raises one named error with all that a message has to say; no child is there."""
    source = (
        "import os, shop.db\ntry:\n    os.fork()\nexcept Exception as error:\n    print(repr(type(error)), error)\n"
    )

    output = run({"shop/db.py": _DB, "main.py": source}, guard="raise", **where(mariadb.url())).succeed()

    assert output.count("taskconn.errors.ForkRefusedError") == 1
    assert re.search(
        r"was about to fork with an open MySQL connection to .*, opened at shop/db\.py:4 in <module>", output
    )
    assert "See docs/errors.md#forkrefusederror" in output


def test_raise_lets_a_fork_without_connections_pass(run: Run) -> None:
    """In mode `raise` a program with nothing open forks as ever."""
    assert reports(run({"main.py": _FORKS + "print('done')"}, guard="raise").succeed()) == []


@pytest.mark.parametrize("mode", ["raise", "fence", "warn"])
@pytest.mark.parametrize("scheme", ["mysql", "postgresql+psycopg2"], ids=["pymysql", "psycopg2"])
def test_modes_leave_alone_what_taskconn_has_opened(
    run: Run, mariadb: MySQLServer, postgresql: PostgreSQLServer, mode: str, scheme: str
) -> None:
    """Connections of taskconn's own cross no fork anyway: its proxy may be used before and after."""
    url = mariadb.url() if scheme == "mysql" else postgresql.url("postgres").replace("postgresql", scheme)
    use = "conn.cursor().execute('SELECT 1')\n"
    source = f"import taskconn\nconn = taskconn.proxy()\n{use}taskconn.guard({mode!r})\n{_FORKS}{use}print('done')\n"

    output = run({"main.py": source}, guard=None, TASKCONN_URL=url).succeed()

    assert "done" in output
    assert reports(output) == []


def test_fence_gives_the_articles_children_an_error_that_names_the_line(
    mysql_database: MySQLDatabase, script: Callable[..., Script]
) -> None:
    """The article's program, unchanged and fenced: no row is written, and each child is told the line to change."""
    mysql_database.query("CREATE TABLE car (id INTEGER AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50))")
    program = Path(multiprocessing_app.__file__).with_name("before.py")
    line = 1 + program.read_text().partition("\nconn = ")[0].count("\n") + 1
    command = [sys.executable, "-m", "taskconn", "run", "--guard=fence", str(program), "3"]

    fenced = script(command, environ={"TASKCONN_URL": mysql_database.url})
    code = fenced.wait()

    assert code == 10, "each of the ten children fails, and the parent says so"
    errors = re.findall(r"^pymysql\.err\.\w+: .*$", fenced.output, re.MULTILINE)
    assert len(errors) == 10
    assert all(f"before.py:{line} in <module>" in error and "fenced" in error for error in errors)
    assert mysql_database.query("SELECT COUNT(*) FROM car") == [(0,)]
    assert len(re.findall(r"fenced\. In the child", fenced.output)) == 1


def test_fence_keeps_the_parents_session(run: Run, mariadb: MySQLServer) -> None:
    """A child's use, and its end, reach no server: the parent's transaction goes on."""
    main = """
import os, sys, shop.db
cursor = shop.db.conn.cursor()
cursor.execute("SELECT CONNECTION_ID()")
(session,) = cursor.fetchone()
child = os.fork()
if child == 0:
    try:
        shop.db.conn.ping(reconnect=False)
    except Exception as error:
        print("child:", error)
    sys.exit()
os.waitpid(child, 0)
cursor.execute("SELECT CONNECTION_ID()")
print("same session", cursor.fetchone() == (session,))
"""

    output = run({"shop/db.py": _DB, "main.py": main}, guard="fence", **where(mariadb.url())).succeed()

    assert re.search(r"child: .*taskconn fenced the MySQL connection .*shop/db\.py:4", output)
    assert "same session True" in output


def test_fence_speaks_through_tls_too(run: Run) -> None:
    """TLS puts another object in the place of the socket; the child's error names the line all the same."""
    main = """
import os, sys, shop.db
if os.fork() == 0:
    try:
        shop.db.conn.ping(reconnect=False)
    except Exception as error:
        print("child:", error)
    os._exit(0)
os.wait()
shop.db.conn.ping(reconnect=False)
print("parent", bool(shop.db.conn._secure))
"""

    with MariaDB(tls=True) as server:
        settings = {**arguments_of(server.url()), "ssl_ca": str(server.authority_path)}
        program = run({"shop/db.py": _DB, "main.py": main}, guard="fence", WHERE=json.dumps(settings))
        output = program.succeed()

    assert re.search(r"child: .*taskconn fenced the MySQL connection .*shop/db\.py:4", output)
    assert "parent True" in output


_CLIENTS_IN_C = {
    "mysqldb": ("MySQL", "import MySQLdb\nconn = MySQLdb.connect(**where)\n", "conn.cursor().execute('SELECT 1')"),
    "psycopg2": (
        "PostgreSQL",
        "import psycopg2\nconn = psycopg2.connect(**where)\n",
        "conn.cursor().execute('SELECT 1')",
    ),
    "psycopg": (
        "PostgreSQL",
        "import psycopg\nwhere['dbname'] = where.pop('database')\nconn = psycopg.connect(**where)\n",
        "conn.execute('SELECT 1')",
    ),
}


@pytest.mark.parametrize("client", _CLIENTS_IN_C)
@pytest.mark.parametrize("is_late", [False, True], ids=["traced", "searched"])
def test_clients_in_c_are_found_with_their_line(
    run: Run, mariadb: MySQLServer, postgresql: PostgreSQLServer, client: str, *, is_late: bool
) -> None:
    """Clients in C raise no audit event: a trace tells the line, and a search what holds it where none was there."""
    pytest.importorskip({"mysqldb": "MySQLdb"}.get(client, client))
    kind, opening, use = _CLIENTS_IN_C[client]
    server = mariadb if kind == "MySQL" else postgresql
    db = "import json, os\nwhere = json.loads(os.environ['WHERE'])\n" + opening
    late = "taskconn.guard('fence')" if is_late else ""
    main = f"""
import os, taskconn
from shop.db import conn
{late}
child = os.fork()
if child == 0:
    try:
        {use}
    except Exception as error:
        print("child:", type(error).__name__)
    os._exit(0)
os.waitpid(child, 0)
{use}
print("parent goes on")
"""

    database = "mysql" if kind == "MySQL" else "postgres"
    program = run(
        {"shop/db.py": db, "main.py": main}, guard=None if is_late else "fence", **where(server.url(database))
    )
    output = program.succeed()

    line = db.splitlines().index(opening.splitlines()[-1]) + 1
    (report,) = reports(output)
    assert report.kind == kind
    assert report.where.startswith(f"opened at shop/db.py:{line} in <module>")
    assert ("held by" in report.where) is is_late
    assert re.search(r"child: \w*Error", output)
    assert "parent goes on" in output


def test_what_is_allowed_crosses_in_silence(run: Run, mariadb: MySQLServer) -> None:
    """An address, a file or a line that the user has named is not reported, and not fenced."""
    files = {"shop/db.py": _DB, "main.py": "import shop.db\n" + _FORKS}

    for word in (f"127.0.0.1:{mariadb.port}", "shop/db.py", "shop/db.py:4"):
        program = run(files, f"--allow={word}", guard="raise", **where(mariadb.url()))
        assert reports(program.succeed()) == []

    assert len(reports(run(files, "--allow=shop/db.py:5", **where(mariadb.url())).succeed())) == 1


def test_subprocesses_are_no_forks(run: Run, mariadb: MySQLServer) -> None:
    """`subprocess` replaces what it forks, and descriptors of Python's do not outlive that: nothing is reported."""
    main = "import subprocess, shop.db\nsubprocess.run(['true'], preexec_fn=lambda: None)\nsubprocess.run(['true'])\n"

    assert reports(run({"shop/db.py": _DB, "main.py": main}, **where(mariadb.url())).succeed()) == []


def test_environment_turns_it_on_for_whoever_imports_taskconn(run: Run, mariadb: MySQLServer) -> None:
    """TASKCONN_GUARD begins at the import of taskconn; without it, a program that is no worker is left alone."""
    files = {"shop/db.py": _DB, "main.py": "import taskconn, shop.db\n" + _FORKS}

    assert reports(run(files, guard=None, **where(mariadb.url())).succeed()) == []
    assert len(reports(run(files, guard=None, TASKCONN_GUARD="warn", **where(mariadb.url())).succeed())) == 1
    assert reports(run(files, guard=None, TASKCONN_GUARD="off", **where(mariadb.url())).succeed()) == []
    misspelt = run(files, guard=None, TASKCONN_GUARD="wran", WHERE="{}")
    assert misspelt.wait() == 1
    assert "The guard has no mode 'wran'" in misspelt.output


def test_redis_pool_is_left_alone_and_pubsub_is_not(run: Run, redis_db: RedisDatabase) -> None:
    """A pool of redis-py begins anew in a child; what a PubSub has taken out of it is shared."""
    client = "import os, redis\nclient = redis.Redis.from_url(os.environ['REDIS'])\nclient.ping()\n"
    listener = client + "listener = client.pubsub()\nlistener.subscribe('news')\n"

    assert reports(run({"main.py": client + _FORKS}, REDIS=redis_db.url).succeed()) == []
    (report,) = reports(run({"main.py": listener + _FORKS}, REDIS=redis_db.url).succeed())
    assert (report.kind, report.where) == ("Redis", "opened at main.py:3 in <module>")
