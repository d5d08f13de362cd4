"""
A peer that speaks as much of MongoDB's wire protocol as pymongo needs: OP_MSG with hello, ping, insert and find.

It is no MongoDB: it keeps documents in a list, knows no queries, and stands in because no server can be installed
everywhere. What it shows is whose sockets speak: it counts messages for each connection, and who has closed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import bson

_OP_MSG, _OP_QUERY, _OP_REPLY = 2013, 2004, 1


@dataclass
class Peer:
    """
    One connection of a client's.

    Attributes:
        commands: Names of the commands that came over it, in order.
        has_ended: The client has closed it, or was gone.
    """

    commands: list[str] = field(default_factory=list)
    has_ended: bool = False


class MongoPeer:
    """
    Listen, and answer. Use it in a ``with`` statement.

    Attributes:
        port: Its port on 127.0.0.1.
        peers: The connections, in the order in which they came.
        documents: What was inserted.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[Peer] = []
        self.documents: list[dict[str, Any]] = []
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> MongoPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for end in [self._listener, *self._ends]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                self.peers.append(Peer())
                self._ends.append(end)
                threading.Thread(target=self._serve, args=(end, self.peers[-1]), daemon=True).start()

    def _serve(self, end: socket.socket, peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                length, request, _, operation = struct.unpack("<iiii", _read(end, 16))
                body = _read(end, length - 16)
                command = _command(operation, body)
                peer.commands.append(next(iter(command)))
                end.sendall(_answer(operation, request, self._obey(command)))
        peer.has_ended = True

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name == "insert":
            self.documents += command["documents"]
            return {"ok": 1, "n": len(command["documents"])}
        if name == "find":
            return {
                "ok": 1,
                "cursor": {"id": 0, "ns": f"{command['$db']}.{command['find']}", "firstBatch": self.documents},
            }
        if name in {"hello", "isMaster", "ismaster"}:
            sizes = {"maxBsonObjectSize": 2**24, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}
            return {
                "ok": 1,
                "isWritablePrimary": True,
                "minWireVersion": 0,
                "maxWireVersion": 21,
                "readOnly": False,
                **sizes,
            }
        return {"ok": 1}


def _read(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _command(operation: int, body: bytes) -> dict[str, Any]:
    """Take the command out of a message; documents to be inserted may stand in a section of their own."""
    if operation == _OP_QUERY:
        start = body.index(b"\0", 4) + 9
        return dict(bson.decode(body[start:]))
    command: dict[str, Any] = {}
    place = 4
    while place < len(body):
        kind, place = body[place], place + 1
        (size,) = struct.unpack_from("<i", body, place)
        if kind == 0:
            command = {**bson.decode(body[place : place + size]), **command}
        else:
            name_end = body.index(b"\0", place + 4)
            name = body[place + 4 : name_end].decode()
            command[name] = bson.decode_all(body[name_end + 1 : place + size])
        place += size
    return dict(sorted(command.items(), key=lambda item: item[0] == "documents"))


def _answer(operation: int, request: int, document: dict[str, Any]) -> bytes:
    data = bson.encode(document)
    if operation == _OP_QUERY:
        body, answer = struct.pack("<iqii", 8, 0, 0, 1) + data, _OP_REPLY
    else:
        body, answer = struct.pack("<i", 0) + b"\0" + data, _OP_MSG
    return struct.pack("<iiii", 16 + len(body), 1, request, answer) + body
