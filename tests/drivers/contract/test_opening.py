"""What every driver claims: open, check, close, and which session it is."""

from __future__ import annotations

import os
import re
from typing import Any

from taskconn import Registry
from taskconn.driver import Driver, Peek
from tests.drivers.contract.marks import every_row, on_unix, with_server
from tests.drivers.rows import Row, target_of

pytestmark = on_unix


@every_row
def test_new_connection_is_alive_quiet_and_has_sent_nothing(driver: Driver[Any], url: str) -> None:
    """Opening is no statement of the task's, whatever the login sends."""
    connection = driver.open(target_of(url), 5)

    facts = driver.is_open(connection), driver.is_alive(connection, 1), driver.peek(connection)
    assert facts == (True, True, Peek.QUIET)
    assert driver.session(connection).sent == 0
    assert not driver.has_pending_reply(connection)
    driver.close(connection, 1)


@every_row
def test_session_is_the_same_object_each_time(driver: Driver[Any], connection: Any) -> None:
    """A lease keeps a connection's `Session`, and what the driver writes is seen there."""
    assert driver.session(connection) is driver.session(connection)
    assert driver.session(connection).alias == "default"


@every_row
def test_closing_twice_is_silent(driver: Driver[Any], url: str) -> None:
    """Closing, or invalidating, what is closed already raises nothing."""
    connection = driver.open(target_of(url), 5)

    driver.close(connection, 1)
    driver.close(connection, 1)
    driver.invalidate(connection)

    assert list(driver.sockets(connection)) == []


@every_row
def test_statements_are_counted_one_by_one(row: Row, driver: Driver[Any], connection: Any) -> None:
    """A lease knows without a round trip how many statements were sent, reading ones included."""
    row.write(connection, "Volvo")
    row.write(connection, "Lada")
    row.values(connection)

    assert driver.session(connection).sent == 3


@every_row
def test_checks_and_settling_are_no_statements(row: Row, driver: Driver[Any], connection: Any) -> None:
    """What taskconn sends for itself is not counted as the task's."""
    row.write(connection, "Volvo")

    driver.is_alive(connection, 1)
    driver.commit(connection, 5)
    driver.rollback(connection, 5)
    driver.restore(connection)

    assert driver.session(connection).sent == 1


@with_server
def test_identity_is_what_the_server_calls_this_session(row: Row, driver: Driver[Any], connection: Any) -> None:
    """The id of the handshake is the server's own, and asking for it is no statement and no transaction."""
    sent = driver.session(connection).sent

    found = driver.ask_identity(connection, 5)

    assert found == driver.identity(connection) is not None
    assert driver.session(connection).sent == sent
    assert not driver.has_pending_reply(connection)
    assert row.session_id(connection) == found


@with_server
def test_connection_that_another_session_answers_is_replaced(row: Row, driver: Driver[Any], url: str) -> None:
    """Whatever has put another session's socket in its place, a health check finds out, and no task gets it."""
    registry = Registry()
    registry.add("orders", re.sub("^mysql://", f"{row.scheme}://", url), health_check_interval=0)
    pool = registry.pool("orders")
    pooled = pool.acquire("a test")
    own = row.session_id(pooled.connection)
    pool.give_back(pooled)
    other = driver.open(target_of(url), 5)
    others = row.session_id(other)
    os.dup2(next(iter(driver.sockets(other))), next(iter(pool.driver.sockets(pooled.connection))))

    replaced = pool.acquire("a test")

    assert row.session_id(replaced.connection) not in {own, others}
    assert pool.stats()["invalidations"] == 1
    pool.give_back(replaced)
    registry.close()
    driver.invalidate(other)
