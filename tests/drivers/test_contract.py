"""What every driver claims, over the rows of `rows.py`. What is particular to a driver stands in its own file."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskconn import Registry, errors
from taskconn.driver import Driver, Peek
from tests.drivers.rows import ROWS, Row, target_of
from tests.support.process import Script

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
with_server = pytest.mark.parametrize("row", [row for row in ROWS.values() if row.has_server], ids=lambda row: row.name)
transactional = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.driver.transactional], ids=lambda row: row.name
)

#: Rows whose driver has `is_as_opened`, which saves three other questions after each commit.
LOOKS_QUICKLY = {"pymysql", "mysqldb", "psycopg"}


@pytest.fixture
def url(request: pytest.FixtureRequest, row: Row) -> str:
    """Give the URL of an empty place of the test's own."""
    return row.url(request)


@pytest.fixture
def driver(row: Row) -> Driver[Any]:
    """Give a driver of the row."""
    return row.driver()


@pytest.fixture
def connection(row: Row, driver: Driver[Any], url: str) -> Iterator[Any]:
    """Give a connection with room to write, to which no statement was sent yet."""
    opened = driver.open(target_of(url), 5)
    row.prepare(opened)
    driver.session(opened).sent = 0
    yield opened
    driver.close(opened, 1)


# -- open, check, close ----------------------------------------------------------------------------------


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


@with_server
def test_silent_server_is_no_session_in_time(driver: Driver[Any], url: str, wire: Callable[..., Any]) -> None:
    """A question for the session's id without an answer is the library's error, after `timeout_s`."""
    target = target_of(url)
    cut = wire(target.port, target.host)
    connection = driver.open(target_of(url, port=cut.port), 5)
    cut.hold_answers()

    started = time.monotonic()
    with pytest.raises(driver.errors):
        driver.ask_identity(connection, 0.3)
    assert time.monotonic() - started < 1.3
    driver.close(connection, 0.3)


# -- settling --------------------------------------------------------------------------------------------


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
    assert driver.is_as_opened(connection) is (row.name in LOOKS_QUICKLY)

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


# -- arguments and errors --------------------------------------------------------------------------------


@every_row
def test_unknown_argument_is_refused_with_the_nearest_name(row: Row, driver: Driver[Any], url: str) -> None:
    """A connect argument that the library does not have is refused before anything is opened."""
    target = target_of(url, query={row.misspelt: "1"})

    with pytest.raises(errors.UnknownOptionError, match=f"Did you mean '{row.meant}'") as caught:
        driver.validate(target)

    assert caught.value.option == row.misspelt
    assert row.meant in caught.value.known.split(", ")


@every_row
def test_unknown_object_is_refused_like_an_unknown_argument(row: Row, driver: Driver[Any], url: str) -> None:
    """`connect_args` are looked at as the URL's parameters are."""
    with pytest.raises(errors.UnknownOptionError, match=re.escape(repr(row.misspelt))):
        driver.validate(target_of(url, connect_args={row.misspelt: object()}))


@with_server
def test_absent_server_is_the_librarys_error(driver: Driver[Any], url: str) -> None:
    """What can't be opened raises one of the driver's `errors`, at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    started = time.monotonic()
    with pytest.raises(driver.errors):
        driver.open(target_of(url, port=port), 2)
    assert time.monotonic() - started < 1


@with_server
def test_silent_server_is_given_up_in_time(driver: Driver[Any], url: str) -> None:
    """A server that takes the connection and says nothing is waited for as long as `timeout_s` says, login included."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(driver.errors):
            driver.open(target_of(url, port=silent.getsockname()[1]), 0.3)

    assert time.monotonic() - started < 1.3


@with_server
def test_silent_server_is_not_alive_in_time(driver: Driver[Any], url: str, wire: Callable[..., Any]) -> None:
    """A ping without an answer is False after `timeout_s`, although the socket is quiet."""
    target = target_of(url)
    cut = wire(target.port, target.host)
    connection = driver.open(target_of(url, port=cut.port), 5)
    cut.hold_answers()

    started = time.monotonic()
    assert not driver.is_alive(connection, 0.3)
    assert time.monotonic() - started < 1.3
    driver.close(connection, 0.3)


@with_server
def test_gone_server_shows_at_a_glance(driver: Driver[Any], url: str, wire: Callable[..., Any]) -> None:
    """A peer that has closed is seen without a round trip, and closing our end then raises nothing."""
    target = target_of(url)
    cut = wire(target.port, target.host)
    connection = driver.open(target_of(url, port=cut.port), 5)

    cut.close()

    deadline = time.monotonic() + 5
    while driver.peek(connection) is Peek.QUIET and time.monotonic() < deadline:
        time.sleep(0.01)
    assert driver.peek(connection) is Peek.DEAD
    driver.close(connection, 1)


@with_server
def test_password_shows_nowhere(driver: Driver[Any], url: str) -> None:
    """No repr and no message has the password, right or wrong."""
    connection = driver.open(target_of(url), 5)
    wrong = target_of(url, user="nobody", password="hunter2-wrong")

    with pytest.raises(driver.errors) as caught:
        driver.open(wrong, 5)

    shown = [repr(wrong), repr(caught.value), str(caught.value), repr(connection), repr(driver)]
    password = target_of(url).password
    assert not [text for text in shown if "hunter2" in text or (password and password in text)]
    driver.close(connection, 1)


# -- forks -----------------------------------------------------------------------------------------------

#: No pool has registered the connection, so no dead sockets are in place: what is shown is the class's own guard.
_FORK = """
import gc, json, os, sys
from taskconn.errors import InheritedConnectionError
from tests.drivers.rows import ROWS, target_of

name, url, action = sys.argv[1:]
row = ROWS[name]
driver = row.driver()
connection = driver.open(target_of(url), 5)
row.prepare(connection)
row.write(connection, "parent")
session_id = row.session_id(connection)
reader = row.half_read(connection) if action == "drop reader" else None
if reader is not None and name == "redis":
    session_id = row.session_id(connection)  # the subscription keeps the client's first connection

def use(call):
    try:
        call()
        return "no error"
    except InheritedConnectionError as error:
        return [error.alias, error.owner_pid == os.getppid(), error.pid == os.getpid()]

ready = os.pipe()
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    driver.discard(connection)
    os.read(ready[0], 1)
    said = "nothing"
    if action == "use":
        said = [use(lambda: row.write(connection, "child")), use(lambda: row.values(connection))]
    elif action == "close":
        connection.close()
    elif action == "leave with block":
        with connection:
            pass
    elif action == "drop":
        del connection
        gc.collect()
    elif action == "drop reader":
        reader = None
        gc.collect()
    print(json.dumps({"child": said}), flush=True)
    if action == "os._exit":
        os._exit(0)
    sys.exit(0)
os.write(ready[1], b"x")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
if reader is not None and (rest := row.rest(reader)) is not None:
    assert rest == list(range(2, 20001))
same = row.session_id(connection) == session_id
driver.commit(connection, 5)
print(json.dumps({"same session": same, "values": row.values(connection)}), flush=True)
driver.close(connection, 1)
"""

_ACTIONS = ["use", "close", "leave with block", "drop", "drop reader", "sys.exit", "os._exit"]


@every_row
@pytest.mark.parametrize("action", _ACTIONS)
def test_child_leaves_its_parents_session_alone(
    row: Row, url: str, action: str, script: Callable[..., Script], wire: Callable[..., Any]
) -> None:
    """Whatever a child does with an inherited connection, the parent's session and transaction are untouched."""
    if row.has_server:
        target = target_of(url)
        url = url.replace(f":{target.port}/", f":{wire(target.port, target.host).port}/")

    output = script(_FORK, row.name, url, action).succeed()

    said: dict[str, Any] = {}
    for line in output.splitlines():
        assert line.startswith("{"), output  # a traceback, a warning
        said |= json.loads(line)
    assert said["same session"]
    assert said["values"] == ["parent"]
    assert said["child"] == ([["default", True, True]] * 2 if action == "use" else "nothing")


# -- interrupts ------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@every_row
def test_no_interrupt_at_any_moment_gives_a_wrong_answer(row: Row, url: str, script: Callable[..., Script]) -> None:
    """After 500 real signals at random moments every answer is right, or there is none: no hang, nothing masked."""
    run = script([sys.executable, "-W", "ignore", "-m", "tests.drivers.fuzz", row.name, url, "500"])

    counts = json.loads(run.succeed(timeout=240).splitlines()[-1])

    assert counts.pop("interrupts") == 500
    assert {name: number for name, number in counts.items() if number} == {
        name: number for name, number in counts.items() if name in {"uninterrupted", "right again", "refused"}
    }
