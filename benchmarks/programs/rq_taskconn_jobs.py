"""RQ's jobs with taskconn."""

from __future__ import annotations

from typing import Any

from taskconn import with_db


def nothing(who: str) -> None:
    """Do nothing."""


@with_db
def insert(db: Any, who: str) -> None:
    """Write a row."""
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO done (who) VALUES (%s)", (who,))
