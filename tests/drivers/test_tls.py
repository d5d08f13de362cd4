"""A server that nobody vouches for is refused by every driver, and the error says which one it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme

from examples.servers import MariaDB, PostgreSQL, Redis
from taskconn import Registry
from taskconn.errors import ConnectionFailedError
from tests.drivers.rows import ROWS, Row

#: Rows by what they connect to, for a server of each kind takes a second to start.
_ROWS = sorted((row for row in ROWS.values() if row.tls), key=lambda row: row.family)

with_tls = pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Any]]:
    """Give a server with TLS of each kind."""
    with MariaDB(tls=True) as mariadb, PostgreSQL(tls=True) as postgresql, Redis(tls=True) as redis_server:
        yield {"mysql": mariadb, "postgresql": postgresql, "redis": redis_server}


def _url(row: Row, server: Any, authority: Path) -> tuple[str, str]:
    """Give an URL that trusts *authority* alone, and the address in it."""
    query = urlencode({name: value.format(authority=authority) for name, value in row.tls.items()})
    if row.family == "redis":
        address = f"{server.host}:{server.tls_port}"
        return f"rediss://{address}/0?{query}", address
    address = f"{server.host}:{server.port}"
    database = "mysql" if row.family == "mysql" else "postgres"
    return f"{row.scheme}://{server.user}:{server.password}@{address}/{database}?{query}", address


@with_tls
def test_server_of_a_stranger_is_refused_by_name(row: Row, servers: dict[str, Any], tmp_path: Path) -> None:
    """Verification fails as the URL asks for it, and the error names alias, host and port, not the password."""
    server = servers[row.family]
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    registry = Registry()
    url, address = _url(row, server, tmp_path / "stranger.pem")
    registry.add("orders", url)

    with pytest.raises(ConnectionFailedError, match=r"(?i)(.|\n)*certificate") as caught:
        registry.pool("orders").acquire("a test")

    assert caught.value.alias == "orders"
    assert address in str(caught.value)
    assert getattr(server, "password", "\0") not in str(caught.value)


@with_tls
def test_server_that_the_authority_vouches_for_is_used(row: Row, servers: dict[str, Any]) -> None:
    """The same arguments with the right authority: what was refused before was the certificate."""
    server = servers[row.family]
    registry = Registry()
    registry.add("orders", _url(row, server, server.authority_path)[0])

    pool = registry.pool("orders")
    pool.give_back(pool.acquire("a test"))

    assert pool.stats()["opens"] == 1
    registry.close()
