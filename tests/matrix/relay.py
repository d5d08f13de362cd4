"""A proxy over TCP or a Unix socket, run by one thread: what it has counted at a moment is all that was sent."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

_CHUNK = 65536

#: Closed with this, a TCP socket sends RST.
_RESET = struct.pack("ii", 1, 0)


class Pair:
    """
    One client's connection and that to the server.

    Attributes:
        sent: Bytes from the client.
        received: Bytes from the server.
        is_hole: Nothing passes any more, and nobody is told.
        is_open: Neither side has closed.
    """

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.sent = self.received = 0
        self.is_hole = False
        self.is_open = True
        self.waiting = {client: b"", server: b""}  # for whom it is
        for end in (client, server):
            end.setblocking(False)

    def other(self, end: socket.socket) -> socket.socket:
        """Give the other end."""
        return self.server if end is self.client else self.client


class Relay:
    """
    Forward connections to a server, count, and cut.

    Args:
        upstream: Host and port of the server, or the path of its Unix socket.
        path: Unix socket to listen at; None listens at a TCP port of its own.
    """

    host = "127.0.0.1"

    def __init__(self, upstream: tuple[str, int] | Path, path: Path | None = None) -> None:
        self._upstream = upstream
        if path is None:
            self._listener = socket.create_server((self.host, 0))
            self.port: int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen(64)
            path.chmod(0o777)
        self._listener.setblocking(False)
        self._wake, self._waker = socket.socketpair()
        self._orders: list[tuple[Callable[[], Any], list[Any], threading.Event]] = []
        self.pairs: list[Pair] = []
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_closing = True
        self._waker.send(b"x")
        self._thread.join(10)
        ends = [end for pair in self.pairs for end in (pair.client, pair.server)]
        for end in [self._listener, self._wake, self._waker, *ends]:
            end.close()

    def sent(self) -> list[int]:
        """Count the bytes that each client has sent up to now, in the order in which they connected."""
        return self._ask(lambda: [pair.sent for pair in self.pairs])

    def received(self) -> list[int]:
        """Count the bytes that each client was sent."""
        return self._ask(lambda: [pair.received for pair in self.pairs])

    def cut(self, how: Literal["FIN", "RST"]) -> None:
        """Break all connections towards the client, and leave the server to find out."""

        def order() -> None:
            for pair in self.pairs:
                if pair.is_open:
                    if how == "RST":
                        pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self._end(pair)

        self._ask(order)

    def swallow(self) -> None:
        """Let nothing pass any more over the connections that there are; new ones work."""

        def order() -> None:
            for pair in self.pairs:
                pair.is_hole = True

        self._ask(order)

    def wait_until_closed(self, timeout_s: float = 60.0) -> None:
        """Wait until every connection has been closed by one of its sides."""
        deadline = time.monotonic() + timeout_s
        while any(self._ask(lambda: [pair.is_open for pair in self.pairs])):
            assert time.monotonic() < deadline, "the server keeps the session"
            time.sleep(0.01)

    # -- the thread ----------------------------------------------------------------------------------------

    def _ask(self, order: Callable[[], Any]) -> Any:
        """Have *order* run by the thread, when all that has come has been forwarded."""
        answer: list[Any] = []
        done = threading.Event()
        self._orders.append((order, answer, done))
        self._waker.send(b"x")
        assert done.wait(60), "the relay's thread is gone"
        return answer[0]

    def _run(self) -> None:
        while not self._is_closing:
            self._turn(None)
            if self._orders:
                while self._turn(0):
                    pass
                order, answer, done = self._orders.pop(0)
                answer.append(order())
                done.set()

    def _turn(self, timeout_ms: int | None) -> bool:
        """Do what can be done now; tell whether something was."""
        poller, owners = select.poll(), {self._listener.fileno(): (None, self._listener)}
        poller.register(self._listener, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        for pair in self.pairs:
            for end in (pair.client, pair.server) if pair.is_open and not pair.is_hole else ():
                wanted = select.POLLIN * (not pair.waiting[pair.other(end)]) | select.POLLOUT * bool(pair.waiting[end])
                poller.register(end, wanted)
                owners[end.fileno()] = (pair, end)  # type: ignore[assignment]
        found = poller.poll(None if self._orders == [] and timeout_ms is None else 0)
        is_busy = False
        for fd, events in found:
            if fd == self._wake.fileno():
                self._wake.recv(_CHUNK)
                continue
            pair, end = owners[fd]
            if pair is None:
                self._accept()
                is_busy = True
            elif pair.is_open:
                is_busy |= self._serve(pair, end, events)
        return is_busy

    def _serve(self, pair: Pair, end: socket.socket, events: int) -> bool:
        try:
            if events & select.POLLOUT and pair.waiting[end]:
                pair.waiting[end] = pair.waiting[end][end.send(pair.waiting[end]) :]
                return True
            target = pair.other(end)
            if pair.waiting[target]:
                if events & (select.POLLERR | select.POLLHUP):
                    self._end(pair)
                return False
            data = end.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end(pair)
            return True
        if end is pair.client:
            pair.sent += len(data)
        else:
            pair.received += len(data)
        pair.waiting[target] = data
        with contextlib.suppress(OSError):
            pair.waiting[target] = data[target.send(data) :]
        return True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            server = None
            try:
                if isinstance(self._upstream, Path):
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(str(self._upstream))
                else:
                    server = socket.create_connection(self._upstream, timeout=5)
                    for end in (client, server):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                client.close()
                if server is not None:
                    server.close()
                return
            self.pairs.append(Pair(client, server))

    def _end(self, pair: Pair) -> None:
        pair.is_open = False
        pair.client.close()
        pair.server.close()
