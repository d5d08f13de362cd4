"""A connection that is lost between COMMIT and its answer: nobody knows the outcome, and taskconn says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import taskconn
from taskconn._registry import Registry
from taskconn.errors import CommitOutcomeUnknownError
from tests.drivers.rows import ROWS
from tests.support.wire import Wire

#: Longest wait for what is a matter of milliseconds, in seconds.
_PATIENCE_S = 60.0

#: How COMMIT looks on the wire; "SET AUTOCOMMIT" is none.
_COMMITS = {"mysql": b"\x03COMMIT", "postgresql": b"COMMIT"}

#: Scheme by the driver's name: SQLAlchemy over two libraries that wait in C, too.
_SCHEMES = {
    **{name: row.scheme for name, row in ROWS.items() if row.family in _COMMITS},
    "sqlalchemy-mysqldb": "sqlalchemy+mysql+mysqldb",
    "sqlalchemy-psycopg2": "sqlalchemy+postgresql+psycopg2",
}


class Till:
    """
    A table behind a proxy, and a lease that writes a row over it.

    Attributes:
        proxy: The proxy.
        done: What waited for the commit and was run.
    """

    def __init__(self, scheme: str, request: pytest.FixtureRequest) -> None:
        if "mysqldb" in scheme:
            pytest.importorskip("MySQLdb")
        self.family = "mysql" if "mysql" in scheme else "postgresql"
        self.database: Any = request.getfixturevalue(f"{self.family}_database")
        self.database.query("CREATE TABLE till (n INT)")
        server = self.database.server
        self.proxy: Wire = request.getfixturevalue("wire")(server)
        url = f"{scheme}://{self.database.url.partition('://')[2]}"
        url = url.replace(f"{server.host}:{server.port}/", f"{self.proxy.host}:{self.proxy.port}/")
        self.handle = Registry().add("default", url)
        self.done: list[str] = []

    def pay(self) -> None:
        """Write a row in a lease."""
        with taskconn.lease(self.handle) as db:
            taskconn.after_commit(self.done.append, "receipt")
            if "sqlalchemy" in type(db).__module__:
                from sqlalchemy import text

                db.execute(text("INSERT INTO till VALUES (1)"))
            else:
                db.cursor().execute("INSERT INTO till VALUES (1)")

    def rows(self) -> int:
        """Count what was committed."""
        return int(self.database.query("SELECT COUNT(*) FROM till")[0][0])

    def wait_for_rows(self, count: int) -> None:
        """Wait until so many are there: the server may be at it yet."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := self.rows()) != count:
            assert found < count
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def lose(self) -> CommitOutcomeUnknownError:
        """Pay, and lose the connection when the proxy has seen COMMIT."""

        def cut() -> None:
            assert self.proxy.has_come.wait(_PATIENCE_S)
            self.proxy.cut()
            self.proxy.release_answers()

        cutter = threading.Thread(target=cut)
        cutter.start()
        with pytest.raises(CommitOutcomeUnknownError, match="safe to repeat") as caught:
            self.pay()
        cutter.join(_PATIENCE_S)
        return caught.value


@pytest.fixture(params=_SCHEMES)
def till(request: pytest.FixtureRequest) -> Till:
    """Give one for each driver."""
    return Till(_SCHEMES[request.param], request)


@pytest.mark.parametrize("arrives", [True, False], ids=["answer lost", "request lost"])
def test_commit_without_an_answer_is_named_and_not_sent_again(till: Till, arrives: bool) -> None:
    """Whether the server had COMMIT or not, the task gets one error, and the row is there once or not at all."""
    till.pay()
    assert till.done == ["receipt"]
    order: Callable[[bytes], None] = till.proxy.hold_answer_to if arrives else till.proxy.keep_from_server
    order(_COMMITS[till.family])
    before = till.proxy.requests

    error = till.lose()

    pool = till.handle.registry.pool("default")
    assert isinstance(error.__cause__, pool.driver.errors)
    assert error.alias == "default"
    assert till.done == ["receipt"]
    assert len(till.proxy.connections) == 1
    assert till.proxy.requests - before <= 3  # BEGIN, where it is sent by itself, INSERT, COMMIT
    till.wait_for_rows(1 + arrives)
    assert pool.stats()["open"] == 0

    till.pay()
    assert till.rows() == 2 + arrives
