"""A server that restarts, or takes no writes any more, costs each connection one error at the most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import taskconn
from examples.servers import MariaDB, PostgreSQL
from taskconn._lease import Lease
from tests.drivers.rows import ROWS, Row
from tests.support.stopwatch import Stopwatch

with_sql = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.family in {"mysql", "postgresql"}], ids=lambda row: row.name
)


class Scene:
    """An alias of *row* on a server of the test's own, and connections of it."""

    def __init__(self, row: Row, server: MariaDB | PostgreSQL, url: str, **options: Any) -> None:
        self.row, self.server = row, server
        self.registry = taskconn.Registry()
        self.handle = self.registry.add("orders", url, connect_timeout=5, reconnect_spread=0, **options)
        self.pool = self.registry.pool("orders")
        for pooled in [self.pool.acquire("a test") for _ in range(3)]:
            self.pool.give_back(pooled)

    def demote(self) -> None:
        """Make the server one that takes no writes: of PostgreSQL the sessions that there are."""
        if isinstance(self.server, MariaDB):
            self.server.query("SET GLOBAL read_only = 1")
            return
        for pooled in self.pool.members():
            statement = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
            self.pool.driver.ask(pooled.connection, statement, 5)

    def promote(self) -> None:
        """Make it the primary again."""
        if isinstance(self.server, MariaDB):
            self.server.query("SET GLOBAL read_only = 0")

    def lease(self) -> Lease[Any]:
        """Lease one."""
        return taskconn.lease(self.handle)


@pytest.fixture
def scene(request: pytest.FixtureRequest, row: Row) -> Iterator[Scene]:
    """Give three idle connections to a server of the test's own, of a user who may not write where it is read only."""
    server = request.getfixturevalue("private_mariadb" if row.family == "mysql" else "private_postgresql")
    server.query("CREATE DATABASE shop")
    url = urlsplit(server.url("shop"))._replace(scheme=row.scheme)
    if row.family == "mysql":
        server.query("CREATE USER app IDENTIFIED BY 'secret'")
        server.query("GRANT CREATE, SELECT, INSERT ON shop.* TO app")
        url = url._replace(netloc=f"app:secret@{url.hostname}:{url.port}")
    scene = Scene(row, server, url.geturl())
    yield scene
    scene.registry.close()


@with_sql
def test_no_task_gets_a_dead_connection_twice(scene: Scene) -> None:
    """The first error on one connection has the others looked at, though they were used a moment ago."""
    scene.server.restart()
    for pooled in scene.pool.members():
        pooled.fresh_until = float("inf")  # used just now, however long the restart took

    errors = 0
    for _ in range(4):
        try:
            with scene.lease() as db:
                scene.row.ask(db, 0)
        except scene.pool.driver.errors:
            errors += 1

    assert errors == 1


@with_sql
def test_connections_to_a_server_that_takes_no_writes_are_replaced(scene: Scene) -> None:
    """After a fail-over the task fails with the server's error, and the next ones have new connections."""
    with scene.lease() as db:
        scene.row.prepare(db)
    before = {pooled.identity for pooled in scene.pool.members()}
    scene.demote()

    with pytest.raises(scene.pool.driver.errors, match=r"(?i)read-?only"):
        with scene.lease() as db:
            scene.row.write(db, "Mini")
    scene.promote()
    sessions = set()
    for _ in range(3):
        with scene.lease() as db:
            scene.row.write(db, "Mini")
            sessions.add(scene.row.session_id(db))

    with scene.lease() as db:
        assert scene.row.values(db) == ["Mini"] * 3
    assert not before & sessions


@with_sql
def test_rollback_after_an_interrupt_does_not_wait_for_a_frozen_server(scene: Scene) -> None:
    """A hard limit's SIGKILL follows 0.1 s after its SIGTERM: so long, and no longer, the server is waited for."""
    with scene.lease() as db:
        scene.row.prepare(db)
    lease = scene.lease()
    scene.row.write(lease.__enter__(), "Mini")
    scene.server.pause()

    watch = Stopwatch()
    lease.fail(KeyboardInterrupt())
    took_s = watch.seconds()
    scene.server.resume()

    assert took_s < 1.0, "the bound is 0.1 s for the rollback, and as much for ending what runs"
    with scene.lease() as db:
        assert scene.row.values(db) == []
