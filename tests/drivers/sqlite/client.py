"""The driver that the tests of SQLite share, and how they look into its files."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from taskconn.driver import Target
from taskconn.drivers.sqlite import SQLite

driver = SQLite()


def target_at(path: Path | str, **changes: Any) -> Target:
    """Name the file at *path*."""
    return Target("default", "sqlite", database=str(path), **changes)


def rows(path: Path) -> list[tuple[Any, ...]]:
    """Read as somebody else would."""
    other = sqlite3.connect(path)
    try:
        return other.execute("SELECT name FROM car ORDER BY name").fetchall()
    finally:
        other.close()
