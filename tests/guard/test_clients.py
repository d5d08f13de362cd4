"""Which sockets are clients, of what kind of server, and whose are none."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskconn._guard import _clients
from taskconn._guard._clients import Scanner
from taskconn._guard._libraries import kind_by_address
from taskconn._sockets import Socket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lists descriptors")


def found(scanner: Scanner) -> set[int]:
    """Give the descriptors of the clients."""
    return {client.socket.fd for client in scanner.clients()}


def test_connected_stream_is_a_client_with_its_peers_address(opened: ExitStack, peer: tuple[str, int]) -> None:
    """A stream that is connected is a client; its address is the server's."""
    before = found(Scanner())
    client = opened.enter_context(socket.create_connection(peer))

    (new,) = [one for one in Scanner().clients() if one.socket.fd not in before]

    assert new.socket == Socket.of(client.fileno())
    assert new.address == f"127.0.0.1:{peer[1]}"
    assert new.is_private


def test_other_sockets_are_no_clients(opened: ExitStack, tmp_path: Path) -> None:
    """What listens, what came in there, a pair, a datagram socket, an unconnected one: none of them is a client."""
    before = found(Scanner())
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    opened.enter_context(socket.create_connection(server.getsockname()))
    accepted = opened.enter_context(server.accept()[0])
    for end in socket.socketpair():
        opened.enter_context(end)
    datagrams = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    datagrams.connect(server.getsockname())
    unconnected = opened.enter_context(socket.socket())

    new = found(Scanner()) - before

    assert {server.fileno(), accepted.fileno(), datagrams.fileno(), unconnected.fileno()} & new == set()
    assert len(new) == 1, "the client's own end"


def test_socket_closed_while_it_is_looked_at_is_no_client(
    opened: ExitStack, peer: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may close a descriptor at any moment of a look: that is no error."""
    client = opened.enter_context(socket.create_connection(peer))
    descriptor, listening_ports = client.fileno(), _clients._listening_ports

    def close_meanwhile() -> frozenset[int]:
        client.close()
        return listening_ports()

    monkeypatch.setattr(_clients, "_listening_ports", close_meanwhile)

    assert descriptor not in found(Scanner())


def test_socket_that_connects_later_becomes_a_client(opened: ExitStack, peer: tuple[str, int]) -> None:
    """A socket is asked again for as long as it is not connected."""
    scanner = Scanner()
    client = opened.enter_context(socket.socket())
    assert client.fileno() not in found(scanner)

    client.connect(peer)

    assert client.fileno() in found(scanner)


@pytest.mark.parametrize(
    ("peer_name", "kind"),
    [
        (("127.0.0.1", 3306), "MySQL"),
        (("::1", 5432, 0, 0), "PostgreSQL"),
        (("10.0.0.1", 4711), ""),
        ("/run/mysqld/mysqld.sock", "MySQL"),
        ("/run/postgresql/.s.PGSQL.5432", "PostgreSQL"),
        (b"\0bus", ""),
    ],
    ids=["mysql", "postgresql6", "unknown", "mysql-socket", "postgresql-socket", "abstract"],
)
def test_kind_is_guessed_by_the_address_where_nothing_else_tells(peer_name: object, kind: str) -> None:
    """Well-known ports and paths name a kind of server; others do not."""
    assert kind_by_address(peer_name) == kind
