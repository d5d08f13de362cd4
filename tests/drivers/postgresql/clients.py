"""How the tests of both PostgreSQL drivers use them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Name of a driver to its scheme.
SCHEMES = {"psycopg": "postgresql", "psycopg2": "postgresql+psycopg2"}

Make = Callable[..., Any]


def url_for(name: str, url: str) -> str:
    """Have *url* choose the driver *name*."""
    return url.replace("postgresql:", f"{SCHEMES[name]}:", 1)


def run(db: Any, sql: str, *arguments: Any) -> Any:
    """Run one statement, and give its cursor."""
    cursor = db.cursor()
    cursor.execute(sql, arguments or None)
    return cursor


def value(db: Any, sql: str, *arguments: Any) -> Any:
    """Give the one value that a statement asks for."""
    return run(db, sql, *arguments).fetchone()[0]
