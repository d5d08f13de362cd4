"""A task that names `ConnectionFailedError` in `autoretry_for` is done when the server is back."""

from __future__ import annotations

from examples.servers import MariaDB
from tests.celery.conftest import VISITS, Start
from tests.support.databases import MySQLDatabase


def test_task_is_tried_again_until_the_server_is_back(start_worker: Start, private_mariadb: MariaDB) -> None:
    """The worker starts although its database is down; no attempt has run a statement, so the row is there once."""
    private_mariadb.query("CREATE DATABASE shop")
    database = MySQLDatabase(private_mariadb, "shop")
    database.query(VISITS)
    private_mariadb.kill9()
    worker = start_worker(database, "-c", "1")

    task = worker.send("put_when_up", 1)
    worker.script.wait_for(rf"\[{task}\] retry: .*ConnectionFailedError")
    private_mariadb.start()
    worker.script.wait_for(rf"\[{task}\] succeeded")

    assert [n for n, *_ in worker.visits()] == [1]
    assert worker.stop() == 0
