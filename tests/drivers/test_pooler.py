"""Behind PgBouncer in transaction mode a client has no session of its own: what needs one is switched off."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from examples.servers import PgBouncer
from taskconn import Registry
from taskconn._lease import Lease
from tests.drivers.rows import ROWS, Row
from tests.support.databases import PostgreSQLDatabase

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

every_row = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.family == "postgresql"], ids=lambda row: row.name
)


class Behind:
    """An alias behind PgBouncer."""

    def __init__(self, row: Row, pgbouncer: PgBouncer, database: str) -> None:
        self.row = row
        self.registry = Registry()
        url = pgbouncer.url(database).replace("postgresql://", f"{row.scheme}://")
        self.handle = self.registry.add("orders", url, reset=True, health_check_interval=0)
        self.pool: Any = self.registry.pool("orders")

    def lease(self) -> Lease[Any]:
        return Lease(self.handle, "a test")

    def work(self) -> list[str]:
        """Run a few tasks, and read what they wrote."""
        with self.lease() as db:
            self.row.prepare(db)
        for number in range(5):
            with self.lease() as db:
                self.row.write(db, f"car {number}")
        with self.lease() as db:
            return self.row.values(db)


def fill(pgbouncer: PgBouncer, database: str) -> None:
    """Have PgBouncer open several sessions, which it then takes in turn."""
    clients = [pgbouncer.connect(database) for _ in range(3)]
    for client in clients:
        client.execute("SELECT 1")  # a transaction, which holds its session
    for client in clients:
        client.rollback()
        client.close()


@every_row
def test_pooler_that_changes_sessions_is_noticed_at_open(
    row: Row, pgbouncer: PgBouncer, postgresql_database: PostgreSQLDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning; identity checks and `reset` are off, tasks work, and a healthy connection is kept."""
    fill(pgbouncer, postgresql_database.name)
    app = Behind(row, pgbouncer, postgresql_database.name)

    with caplog.at_level(logging.WARNING, "taskconn"):
        values = app.work()
        others = [app.pool.acquire("a test") for _ in range(3)]

    (record,) = caplog.records
    assert record.getMessage() == (
        "connection 'orders': a pooler stands in front of the server; it changes sessions between statements: "
        "identity checks and `reset` are off"
    )
    assert values == [f"car {number}" for number in range(5)]
    assert [pooled.identity for pooled in others] == [None] * 3
    assert app.pool.stats()["opens"] == 3
    for pooled in others:
        app.pool.close(pooled)


@every_row
def test_pooler_at_rest_is_taken_for_one_that_keeps_sessions(
    row: Row, pgbouncer: PgBouncer, postgresql_database: PostgreSQLDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """With one session behind it both look alike: `reset` stays on, which does no harm, and tasks work."""
    app = Behind(row, pgbouncer, postgresql_database.name)

    with caplog.at_level(logging.WARNING, "taskconn"):
        values = app.work()

    assert values == [f"car {number}" for number in range(5)]
    assert "a pooler stands in front of the server; identity checks are off" in caplog.text
    assert app.pool.stats()["opens"] == 1
    app.registry.close()
