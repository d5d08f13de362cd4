"""The tables, one file each with a ``TABLE``; in the order of RESULTS.md."""

from __future__ import annotations

import importlib

from ..harness import Table

__all__ = ["load", "names"]

#: Word on the command line -> module.
_TABLES = {
    "tasks": "tasks",
    "celery": "celery_tasks",
    "rq": "rq_workers",
    "fake": "fake",
    "opening": "opening",
    "fork": "forks",
    "guard": "guard",
    "memory": "memory",
    "import": "imports",
    "growth": "growth",
}


def names() -> list[str]:
    """List the words that name a table."""
    return list(_TABLES)


def load(name: str) -> Table:
    """Import the table that *name* names; a table imports its contenders' libraries."""
    table: Table = importlib.import_module(f".{_TABLES[name]}", __name__).TABLE
    return table
