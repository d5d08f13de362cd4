"""
A parent that forks with live connections, and children that do their worst: one program per driver, way and fork.

``python -m tests.matrix.silence ROW URL FORK CONTROL COMBINATIONS`` prints a line of JSON per combination: what held.
With ``orphans`` for the combinations it prints its sessions and a child, and waits to be killed.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from typing import Any

import taskconn
from tests.matrix.families import FAMILIES
from tests.matrix.rows import ROWS
from tests.matrix.silence.forks import PATIENCE_S, start
from tests.matrix.silence.outside import Outside
from tests.matrix.silence.parent import Parent


def _be_killed(parent: Parent) -> None:
    """Hold sessions in every state, fork a child that lives on, and wait for SIGKILL."""
    row, family = parent.row, parent.family
    sessions = {}
    asking, ready = threading.Event(), threading.Semaphore(0)

    def hold(is_used: bool) -> None:
        with taskconn.lease() as db:
            sessions["in a transaction" if is_used else "lease held"] = row.session_id(db)
            if is_used:
                row.write(db, "orphan")
            ready.release()
            threading.Event().wait()

    def ask() -> None:
        with taskconn.lease() as db:
            sessions["in a query in another thread"] = row.session_id(db)
            asking.set()
            family.block(row, db)

    parent.outside.hold()
    threading.Thread(target=ask, daemon=True).start()
    assert asking.wait(PATIENCE_S)
    while not parent.outside.is_blocked():
        time.sleep(0.001)
    for is_used in (True, False):
        threading.Thread(target=hold, args=(is_used,), daemon=True).start()
        assert ready.acquire(timeout=PATIENCE_S)
    with taskconn.lease() as db:
        sessions["idle"] = row.session_id(db)
    child = start(parent.fork, threading.Event().wait)  # type: ignore[arg-type]
    print(json.dumps({"sessions": sessions, "child": child.pid}), flush=True)
    threading.Event().wait()


def main(name: str, url: str, fork: str, control: str, wanted: str) -> None:
    """Run the combinations, or wait to be killed."""
    row = ROWS[name]
    family = FAMILIES[row.family]()
    outside: Any = Outside(control) if row.has_server else family
    taskconn.configure({"default": {"url": url, **row.options}})
    parent = Parent(row, family, outside, fork)
    with taskconn.lease() as db:
        row.prepare(db)
    del db
    if wanted == "orphans":
        _be_killed(parent)
        return
    gc.freeze()  # a child's end is not about what was imported
    for state, action in json.loads(wanted):
        started = time.monotonic()
        facts = parent.run(state, action)
        seconds = time.monotonic() - started
        os.write(1, f"{json.dumps({'state': state, 'action': action, 'facts': facts, 's': seconds})}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
