"""Which sockets of this process are live clients: found from the list of descriptors, with what the kernel tells."""

from __future__ import annotations

import _socket
import os
from typing import Any, NamedTuple

from .._descriptors import marks, process_sockets
from .._process import Socket
from .._sockets import borrow, kind_of

__all__ = ["Client", "Scanner", "address_of"]

#: Descriptors of standard input, output and errors: a service manager may have made sockets of them.
_STANDARD = frozenset({0, 1, 2})


class Client(NamedTuple):
    """
    Describe one connected socket.

    Attributes:
        socket: What identifies it in this process.
        peer: What `getpeername` gave: host and port, or the path of a Unix socket.
        is_private: It does not outlive an `exec`, as is so with all that Python and most libraries open.
    """

    socket: Socket
    peer: Any
    is_private: bool

    @property
    def address(self) -> str:
        """Host and port, or path; never a secret."""
        return address_of(self.peer)


class _Seen(NamedTuple):
    """Say what was found out about a socket: a client, or None for what never becomes one."""

    client: Client | None


class Scanner:
    """
    List the client sockets of the process, and ask the kernel about each of them once.

    Left out are listening sockets and what they have accepted, datagrams, which have no replies to be mixed up, pairs,
    whose ends have no names, and standard input and output.
    """

    def __init__(self) -> None:
        self._seen: dict[Socket, _Seen] = {}
        self._marks: list[int] = []
        self._is_waiting = False

    def is_unchanged(self) -> bool:
        """Tell whether no descriptor has changed since this was asked last, nor may have become a client since."""
        before, self._marks = self._marks, marks()
        return before == self._marks and not self._is_waiting

    def clients(self) -> list[Client]:
        """List the sockets that are connected to a server now."""
        seen, present, unknown = self._seen, {}, []
        for entry in process_sockets():
            known = seen.get(entry)
            if known is None:
                unknown.append(entry)
            else:
                present[entry] = known
        self._is_waiting = False
        if unknown:
            present.update(self._ask(unknown))
        self._seen = present
        return [known.client for known in present.values() if known.client is not None]

    def _ask(self, sockets: list[Socket]) -> dict[Socket, _Seen]:
        """Look at new sockets. Those that are not connected yet are asked again the next time."""
        answers: dict[Socket, _Seen] = {}
        standard = {entry[1:] for entry in sockets if entry.fd in _STANDARD}
        names: dict[Socket, tuple[Any, Any]] = {}
        for entry in sockets:
            names_of = None if entry[1:] in standard else _names(entry.fd)
            if names_of is None:
                answers[entry] = _Seen(None)
            elif names_of[1] is not None:
                names[entry] = names_of
        self._is_waiting = len(answers) + len(names) < len(sockets)
        doors = _listening_ports() if names else frozenset()
        for entry, (own, peer) in names.items():
            is_accepted = isinstance(own, tuple) and own[1] in doors
            answers[entry] = _Seen(None if is_accepted else _client(entry, peer))
        return answers


def _client(entry: Socket, peer: object) -> Client | None:
    try:
        return Client(entry, peer, is_private=not os.get_inheritable(entry.fd))
    except OSError:  # another thread has closed it since it was listed
        return None


def address_of(peer: object) -> str:
    """Write what `getpeername` gave as people write it."""
    if isinstance(peer, tuple) and len(peer) >= 2:  # noqa: PLR2004 -- host and port
        host, port = str(peer[0]), peer[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(peer, bytes):
        return peer.decode(errors="replace").replace("\0", "@")
    return str(peer)


def _names(fd: int) -> tuple[Any, Any] | None:
    """
    Give own name and peer's name of a stream; the latter is None while it is not connected.

    Returns:
        None if it is a socket that never becomes a client.
    """
    try:
        end = borrow(fd)
    except OSError:
        return None
    try:
        if kind_of(end) != _socket.SOCK_STREAM or _is_listening(end):
            return None
        try:
            peer = end.getpeername()
        except OSError:
            return end.getsockname(), None
        return (end.getsockname(), peer) if peer else None
    except OSError:
        return None
    finally:
        end.close()


def _is_listening(end: _socket.socket) -> bool:
    return bool(end.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))


def _listening_ports() -> frozenset[int]:
    """List the ports that this process serves: what comes in there is no client of it."""
    ports = set()
    for entry in process_sockets():
        try:
            end = borrow(entry.fd)
        except OSError:
            continue
        try:
            if end.family in (_socket.AF_INET, _socket.AF_INET6) and _is_listening(end):
                ports.add(end.getsockname()[1])
        except OSError:
            continue
        finally:
            end.close()
    return frozenset(ports)
