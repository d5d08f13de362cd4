"""mysqlclient and mysql-connector-python: a child leaves its parent's session alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from examples.servers import MariaDB
from tests.drivers.mysql_clients.clients import each_client, url_of
from tests.drivers.rows import Row
from tests.support.process import Script

pytestmark = each_client

_FORK = """
import gc, json, os, sys, threading
import taskconn
from taskconn import errors
from tests.drivers.rows import ROWS

name, url, state = sys.argv[1:]
row = ROWS[name]
taskconn.configure({"default": {"url": url, "transaction": "none"}})

def child(action, db, reader):
    said = "nothing"
    if action == "use":
        try:
            row.write(db, "child")
        except errors.InheritedConnectionError as error:
            said = error.owner_pid == os.getppid()
    elif action == "close":
        db.close()
    elif action == "rollback":
        try:
            db.rollback()
        except errors.InheritedConnectionError:
            said = "inherited"
    elif action == "drop":
        reader = db = None
        lease._pooled.connection = None
        gc.collect()
    return said

lease = taskconn.lease("default")
db = lease.begin(None)
session_id = row.session_id(db)
row.write(db, "parent")
reader = row.half_read(db) if state == "half read" else None
busy = answers = None
if state == "in a query":
    answers = []
    def ask():
        cursor = db.cursor()
        cursor.execute("SELECT SLEEP(3), 'right'")
        answers.extend(cursor.fetchall())
        cursor.close()
    busy = threading.Thread(target=ask)
    busy.start()
    while not db.session.pending:
        pass
descriptor = taskconn._registry.default_registry().pool("default").driver.sockets(db)
socket = os.readlink(f"/proc/self/fd/{list(descriptor)[0]}")
children = []
for action in ["use", "close", "rollback", "drop", "sys.exit", "os._exit"]:
    pid = os.fork()
    if pid:
        children.append(pid)
        continue
    reader_, reader = reader, None
    said = child(action, globals().pop("db"), reader_)
    reader_ = None
    held = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    held = [fd for fd in held if os.readlink(f"/proc/self/fd/{fd}") == socket]
    with taskconn.lease("default") as own:
        differs = row.session_id(own) != session_id
    os.write(1, (json.dumps({action: [said, held, differs]}) + "\\n").encode())
    os._exit(0) if action == "os._exit" else sys.exit(0)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
if busy is not None:
    busy.join()
    assert [list(answer) for answer in answers] == [[0, "right"]], answers
if reader is not None:
    assert row.rest(reader) == list(range(2, 20001))
same = row.session_id(db) == session_id
db.commit()
print(json.dumps({"codes": codes, "same": same, "values": row.values(db)}), flush=True)
lease.succeed()
"""


@pytest.mark.parametrize(
    ("transport", "state"),
    [("plain", "half read"), ("tls", "in a transaction"), ("plain", "in a query")],
    ids=["plain, half read", "tls, in a transaction", "plain, in a query"],
)
def test_child_leaves_the_session_of_a_leased_connection_alone(
    row: Row, tls_server: MariaDB, transport: str, state: str, script: Callable[..., Script]
) -> None:
    """The child keeps no descriptor, says nothing, opens its own; the parent's transaction, rows and session go on."""
    tls_server.query("DELETE FROM car", database="cars")

    output = script(_FORK, row.name, url_of(row, tls_server, transport), state).succeed()

    said: dict[str, Any] = {}
    for line in output.splitlines():
        assert line.startswith("{"), output  # a traceback, a warning
        said |= json.loads(line)
    expected = {"use": True, "close": "nothing", "rollback": "inherited", "drop": "nothing"}
    expected |= {"sys.exit": "nothing", "os._exit": "nothing"}
    children = {action: [word, [], True] for action, word in expected.items()}
    assert said == {**children, "codes": [0] * 6, "same": True, "values": ["parent"]}
