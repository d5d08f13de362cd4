"""What tasks of these tests do, in Celery's worker and in RQ's: write, wait, tell the test."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import taskconn
from tests.drivers.rows import Row

#: A statement that takes so many seconds.
_SLOW = {
    "mysql": "SELECT SLEEP({0})",
    "postgresql": "SELECT pg_sleep({0})",
    # SQLite has no clock to wait for: this takes about as long.
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500000 * {0}) SELECT max(i) "
    "FROM n",
}


def say(*words: object) -> None:
    """Tell the test, in one line that nothing gets in between."""
    os.write(1, f"SAY {' '.join(map(str, words))}\n".encode())


def write(row: Row, db: Any, key: str, attempt: int = 0) -> None:
    """Write a value, and have the test told when it is committed."""
    row.write(db, f"{key} {attempt}")
    taskconn.after_commit(say, "after_commit", key)


def wait_in_statement(row: Row, db: Any, seconds: float) -> None:
    """Wait for an answer."""
    if row.family == "redis":
        db.blpop("nobody-writes-this", timeout=seconds)
    else:
        row.run(db, _SLOW[row.family].format(seconds))


def wait_in_python(seconds: float = 60.0) -> None:
    """Wait where any signal is heard at once."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        time.sleep(0.01)


def wait_for_file(path: str) -> None:
    """Wait until the test makes a file."""
    while not Path(path).exists():
        time.sleep(0.01)
