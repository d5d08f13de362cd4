"""What every driver claims: a child leaves its parent's session alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.drivers.contract.marks import every_row, on_unix
from tests.drivers.rows import Row, target_of
from tests.support.process import Script

pytestmark = on_unix

#: No pool has registered the connection, so no dead sockets are in place: what is shown is the class's own guard.
_FORK = """
import gc, json, os, sys
from taskconn.errors import InheritedConnectionError
from tests.drivers.rows import ROWS, target_of

name, url, action = sys.argv[1:]
row = ROWS[name]
driver = row.driver()
connection = driver.open(target_of(url), 5)
row.prepare(connection)
row.write(connection, "parent")
session_id = row.session_id(connection)
reader = row.half_read(connection) if action == "drop reader" else None
if reader is not None and name == "redis":
    session_id = row.session_id(connection)  # the subscription keeps the client's first connection

def use(call):
    try:
        call()
        return "no error"
    except InheritedConnectionError as error:
        return [error.alias, error.owner_pid == os.getppid(), error.pid == os.getpid()]

ready = os.pipe()
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    driver.discard(connection)
    os.read(ready[0], 1)
    said = "nothing"
    if action == "use":
        said = [use(lambda: row.write(connection, "child")), use(lambda: row.values(connection))]
    elif action == "close":
        connection.close()
    elif action == "leave with block":
        with connection:
            pass
    elif action == "drop":
        del connection
        gc.collect()
    elif action == "drop reader":
        reader = None
        gc.collect()
    print(json.dumps({"child": said}), flush=True)
    if action == "os._exit":
        os._exit(0)
    sys.exit(0)
os.write(ready[1], b"x")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
if reader is not None and (rest := row.rest(reader)) is not None:
    assert rest == list(range(2, 20001))
same = row.session_id(connection) == session_id
driver.commit(connection, 5)
print(json.dumps({"same session": same, "values": row.values(connection)}), flush=True)
driver.close(connection, 1)
"""

_ACTIONS = ["use", "close", "leave with block", "drop", "drop reader", "sys.exit", "os._exit"]


@every_row
@pytest.mark.parametrize("action", _ACTIONS)
def test_child_leaves_its_parents_session_alone(
    row: Row, url: str, action: str, script: Callable[..., Script], wire: Callable[..., Any]
) -> None:
    """Whatever a child does with an inherited connection, the parent's session and transaction are untouched."""
    if row.has_server:
        target = target_of(url)
        url = url.replace(f":{target.port}/", f":{wire(target.port, target.host).port}/")

    output = script(_FORK, row.name, url, action).succeed()

    said: dict[str, Any] = {}
    for line in output.splitlines():
        assert line.startswith("{"), output  # a traceback, a warning
        said |= json.loads(line)
    assert said["same session"]
    assert said["values"] == ["parent"]
    assert said["child"] == ([["default", True, True]] * 2 if action == "use" else "nothing")
