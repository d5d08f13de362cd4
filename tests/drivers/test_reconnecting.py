"""A password changed a moment ago, and a server that accepts and says nothing, with every client and server."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import taskconn
from taskconn.errors import ConnectionFailedError
from tests.drivers.rows import ROWS, Row
from tests.support.stopwatch import Stopwatch

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

with_server = pytest.mark.parametrize("row", [row for row in ROWS.values() if row.has_server], ids=lambda row: row.name)

#: Makes a user's password so and so on the server.
_SetPassword = Callable[[str], None]


@pytest.fixture
def user(request: pytest.FixtureRequest, row: Row) -> Iterator[tuple[str, _SetPassword]]:
    """Give a user of the row's server, and what changes his password."""
    name = f"u{uuid.uuid4().hex[:10]}"
    if row.family == "mysql":
        server = request.getfixturevalue("mariadb")
        server.query(f"CREATE USER {name} IDENTIFIED BY 'first'")
        server.query(f"GRANT ALL ON *.* TO {name}")
        yield name, lambda password: server.query(f"ALTER USER {name} IDENTIFIED BY '{password}'")
        server.query(f"DROP USER {name}")
    elif row.family == "postgresql":
        server = request.getfixturevalue("postgresql")
        server.query(f"CREATE USER {name} PASSWORD 'first'")
        yield name, lambda password: server.query(f"ALTER USER {name} PASSWORD '{password}'")
        server.query(f"DROP USER {name}")
    else:
        server = request.getfixturevalue("redis_server")
        server.query("ACL", "SETUSER", name, "on", ">first", "~*", "&*", "+@all")
        yield name, lambda password: server.query("ACL", "SETUSER", name, "resetpass", f">{password}")
        server.query("ACL", "DELUSER", name)


def _with_login(row: Row, request: pytest.FixtureRequest, name: str, password: str) -> str:
    url = urlsplit(row.url(request))
    return url._replace(scheme=row.scheme, netloc=f"{name}:{password}@{url.hostname}:{url.port}").geturl()


@with_server
def test_password_changed_a_moment_ago_is_asked_for_again(
    row: Row, request: pytest.FixtureRequest, user: tuple[str, _SetPassword]
) -> None:
    """A callable that gave the old password is asked once more at once, and the lease goes on with the new one."""
    name, set_password = user
    set_password("second")
    passwords = ["second", "first"]
    registry = taskconn.Registry()
    handle = registry.add("default", lambda: _with_login(row, request, name, passwords[-1]))
    target = registry.pool("default").opener._target
    registry.pool("default").opener._target = lambda: (target(), passwords.pop())[0]

    with taskconn.lease(handle) as db:
        found, right = row.ask(db, 0)

    assert found == right
    assert passwords == []


@with_server
def test_password_that_stays_wrong_is_an_error_without_it(
    row: Row, request: pytest.FixtureRequest, user: tuple[str, _SetPassword]
) -> None:
    """It is asked for twice and tried once, for it is the same; the error tells neither."""
    name, _ = user
    asked: list[str] = []

    def url() -> str:
        asked.append("wr0ng")
        return _with_login(row, request, name, asked[-1])

    registry = taskconn.Registry()
    handle = registry.add("default", url)
    registry.pool("default")  # which asks for the scheme
    asked.clear()

    with pytest.raises(ConnectionFailedError, match=r"tries: 1.*(?s:.)*server is up and reachable") as caught:
        taskconn.lease(handle).__enter__()

    assert len(asked) == 2
    assert "wr0ng" not in f"{caught.value} {caught.value!r} {caught.value.args}"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Give the port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@with_server
def test_server_that_accepts_and_says_nothing_is_given_up_in_time(
    row: Row, request: pytest.FixtureRequest, silent_port: int
) -> None:
    """``connect_timeout`` bounds the try; the leases after it fail at once, and say why."""
    url = urlsplit(row.url(request))
    text = url._replace(scheme=row.scheme, netloc=f"{url.username or ''}:x@127.0.0.1:{silent_port}").geturl()
    registry = taskconn.Registry()
    handle = registry.add("default", text, connect_timeout=1.0)
    pool = registry.pool("default")
    first_s, first = _failure(handle)
    pool.opener.pace._paused_until = time.monotonic() + 60
    second_s, second = _failure(handle)

    assert first_s < 2.0
    assert (first.tries, second.tries) == (1, 0)
    assert second.reason.endswith(first.reason)
    assert second_s < first_s


def _failure(handle: taskconn.Handle[Any]) -> tuple[float, ConnectionFailedError]:
    watch = Stopwatch()
    with pytest.raises(ConnectionFailedError, match="autoretry_for") as caught:
        taskconn.lease(handle).__enter__()
    return watch.seconds(), caught.value
