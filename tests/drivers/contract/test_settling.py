"""What every driver claims: commits, rollbacks, half-read replies, and settling by hand."""

from __future__ import annotations

from typing import Any

import pytest

from taskconn import errors
from taskconn.driver import Driver
from tests.drivers.contract.marks import every_row, on_unix, transactional
from tests.drivers.rows import Row, target_of

pytestmark = on_unix

#: Rows whose driver has `is_as_opened`, which saves three other questions after each commit.
LOOKS_QUICKLY = {"pymysql", "mysqldb", "psycopg"}


@transactional
def test_commit_makes_durable_and_rollback_undoes(row: Row, driver: Driver[Any], connection: Any, url: str) -> None:
    """Rows written before a commit are there for others; rows written before a rollback never are."""
    row.write(connection, "Volvo")
    driver.commit(connection, 5)
    row.write(connection, "Lada")
    driver.rollback(connection, 5)

    other = driver.open(target_of(url), 5)
    assert row.values(other) == ["Volvo"]
    driver.close(other, 1)


@every_row
def test_quick_look_after_a_commit_sees_what_is_left(row: Row, driver: Driver[Any], connection: Any) -> None:
    """A driver that says of a connection that nothing is to be cleaned has looked: at replies, and at the socket."""
    row.write(connection, "Volvo")
    driver.commit(connection, 5)
    assert driver.is_as_opened(connection) is (row.name in LOOKS_QUICKLY and row.tells_more)

    reader = row.half_read(connection)
    assert not driver.is_as_opened(connection)
    del reader

    driver.invalidate(connection)
    assert not driver.is_as_opened(connection)


@transactional
def test_close_rolls_back(row: Row, driver: Driver[Any], connection: Any, url: str) -> None:
    """What was not committed is gone when the connection is closed by hand; the lease can tell."""
    row.write(connection, "Volvo")

    connection.close()

    assert driver.session(connection).closed_by_hand
    assert not driver.is_open(connection)
    other = driver.open(target_of(url), 5)
    assert row.values(other) == []
    driver.close(other, 1)


@transactional
def test_commit_after_a_half_read_reply_succeeds(row: Row, driver: Driver[Any], connection: Any, url: str) -> None:
    """A task may return without having read everything it asked for: its work is committed all the same."""
    row.write(connection, "Volvo")
    cursor = row.half_read(connection)

    driver.commit(connection, 5)

    assert not driver.has_pending_reply(connection)
    other = driver.open(target_of(url), 5)
    assert row.values(other) == ["Volvo"]
    driver.close(other, 1)
    cursor.close()


@transactional
@pytest.mark.parametrize("verb", ["commit", "rollback", "close"])
def test_settling_by_hand_is_refused_where_the_lease_says_so(
    row: Row, driver: Driver[Any], connection: Any, verb: str
) -> None:
    """`commit()`, `rollback()` and `close()` ask first, and do nothing if they are refused; the driver's own do not."""
    row.write(connection, "Volvo")

    def refuse(called: str) -> None:
        raise errors.ManualSettlementError("default", called, "it is joined to an outer lease")

    driver.session(connection).refusal = refuse
    with pytest.raises(errors.ManualSettlementError, match="Leave it to the outermost lease") as caught:
        getattr(connection, verb)()

    assert caught.value.verb == verb
    assert row.values(connection) == ["Volvo"]
    driver.rollback(connection, 5)
    assert row.values(connection) == []


@transactional
def test_leaving_a_with_block_is_refused_where_the_lease_says_so(
    row: Row, driver: Driver[Any], connection: Any
) -> None:
    """``with db:`` settles or closes in both libraries, so it asks like the methods do."""
    row.write(connection, "Volvo")

    def refuse(called: str) -> None:
        raise errors.ManualSettlementError("default", called, "it is joined to an outer lease")

    driver.session(connection).refusal = refuse
    with pytest.raises(errors.ManualSettlementError, match="Leave it to the outermost lease"), connection:
        pass
