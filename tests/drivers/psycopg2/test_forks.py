"""psycopg2: what a child may not do with a connection of its parent."""

from __future__ import annotations

import os

import pytest

from taskconn.drivers.psycopg2 import Connection
from taskconn.errors import InheritedConnectionError


def test_child_can_neither_cancel_nor_poll_nor_close_a_cursor(db: Connection) -> None:
    """Cancelling opens a connection of its own, which no dead socket stops."""
    cursor = db.cursor("half")
    cursor.execute("SELECT generate_series(1, 1000)")
    db.session.owner_pid += 1  # as a child sees it

    for call in (db.cancel, db.poll, db.reset, cursor.fetchone, lambda: next(iter(cursor)), lambda: db.lobject(0)):
        with pytest.raises(InheritedConnectionError, match="Lease it where it is used"):
            call()
    cursor.close()
    db.close()
    with db:
        pass

    db.session.owner_pid = os.getpid()
    assert len(cursor.fetchall()) == 1000
