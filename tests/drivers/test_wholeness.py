"""A session that was lost in the middle of a transaction: what follows it is not committed as if it were whole."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from taskconn.driver import Peek
from taskconn.errors import CommitOutcomeUnknownError
from tests.drivers.rows import Row
from tests.drivers.tills import PATIENCE_S, Till, for_rows
from tests.support.wire import Wire

#: What only a hang reaches, in seconds.
_HANG_S = 10.0

_COMMITS = {"mysql": b"\x03COMMIT", "postgresql": b"COMMIT"}


@for_rows(lambda _: True)
@pytest.mark.parametrize("is_seen", [True, False], ids=["swallowed", "unseen"])
def test_session_that_was_lost_before_the_commit_has_committed_nothing(row: Row, till: Till, is_seen: bool) -> None:
    """A task that swallows what its lost connection says, or does not ask any more, gets the driver's error."""
    with till.refusing(), till.lease() as db:
        row.write(db, "first")
        till.kill(db)
        if is_seen:
            with pytest.raises((*row.errors, *till.errors)):
                row.write(db, "second")
        else:
            pool = till.handle.registry.pool("till")
            (member,) = pool.members()
            deadline = time.monotonic() + PATIENCE_S
            while pool.driver.peek(member.connection) is Peek.QUIET and time.monotonic() < deadline:
                time.sleep(0.01)

    assert till.holds()


@for_rows(lambda _: True)
def test_answer_of_a_commit_that_never_comes_whole_is_not_waited_for(
    row: Row, database: Any, wire: Callable[..., Wire]
) -> None:
    """Half of it has come: the rest is waited for until `settle_timeout`, and the outcome is unknown."""
    proxy = wire(database.server)
    till = Till(row, database, proxy)
    end = threading.Timer(_HANG_S, proxy.cut)
    end.start()

    began = time.monotonic()
    with pytest.raises(CommitOutcomeUnknownError), till.lease() as db:
        row.write(db, "first")
        proxy.hold_answer_to(_COMMITS[row.family], halves=True)
    took_s = time.monotonic() - began
    end.cancel()
    proxy.release_answers()

    assert took_s < _HANG_S / 2
    assert (till.values(), till.done) == (["first"], [])
    assert till.handle.registry.pool("till").stats()["open"] == 0


# -- a library that connects anew ------------------------------------------------------------------------------


def _ping(client: Any) -> None:
    client.ping(reconnect=True)


def _connect(client: Any) -> None:
    client.connect()


@for_rows(lambda row: row.family == "mysql" and "mysqldb" not in row.name)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyMySQL leaves its old socket open
@pytest.mark.filterwarnings("ignore:The 'reconnect' argument:DeprecationWarning")  # of PyMySQL since 1.2
@pytest.mark.parametrize("again", [_ping, _connect], ids=["ping", "connect"])
def test_library_that_connects_anew_does_not_have_the_second_half_committed(
    row: Row, till: Till, again: Callable[[Any], None]
) -> None:
    """Another session has nothing of what the lost one had begun: it is kept from it, or nothing is committed."""
    with till.refusing(), till.lease() as db:
        row.write(db, "first")
        till.kill(db)
        client = db.connection().connection.dbapi_connection if hasattr(db, "connection") else db
        with contextlib.suppress(*row.errors, *till.errors):
            again(client)
        with contextlib.suppress(*row.errors, *till.errors):
            row.write(db, "second")

    assert till.holds()
