"""A counter that shows how often a task's work was done, and a child that dies before it is acknowledged."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path
from typing import Any


def dies_after_commit(function: Any) -> Any:
    """Kill the child between a task's commit and its acknowledgement: at the first delivery of each tenth one."""

    @functools.wraps(function)
    def call(n: int, **options: Any) -> Any:
        result = function(n, **options)
        marker = Path(os.environ["PROJECT_FOLDER"]) / f"{function.__name__}-{n}"
        if n % 10 == 0 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def add_one(db: Any, name: str, n: int) -> int:
    """Add one to a counter, and write down for which task."""
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO counted (name, n) VALUES (%s, %s)", (name, n))
        cursor.execute("UPDATE counter SET value = value + 1 WHERE name = %s", (name,))
    return n
