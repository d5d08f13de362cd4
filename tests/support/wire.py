"""A TCP proxy in front of a server that counts what passes: it shows silence, and that no round trip was spent."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType

#: Most bytes taken from a socket at once.
_CHUNK = 65536


@dataclass
class Traffic:
    """
    What passed over one connection.

    Attributes:
        sent: Bytes from the client to the server.
        received: Bytes from the server to the client.
        requests: How often the client spoke after the server had: the number of round trips, for a client that waits
            for each answer. A server's greeting is none, a client's goodbye is one.
        client_closed: The client has closed its end, or was gone.
        server_closed: The server has.
    """

    sent: int = 0
    received: int = 0
    requests: int = 0
    client_closed: bool = False
    server_closed: bool = False
    _is_asking: bool = field(default=False, repr=False)


class Wire:
    """
    Forward connections to a server, and count.

    Use it in a ``with`` statement: clients connect to `host` and `port` instead of the server's.

    Attributes:
        host: 127.0.0.1.
        port: A port of its own.
        connections: One `Traffic` per connection, in the order in which they were accepted.
        has_come: Set when the request has come that `hold_answer_to` or `keep_from_server` waits for.
    """

    host = "127.0.0.1"

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._server = (host, port)
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[Traffic] = []
        self._sockets: list[tuple[socket.socket, socket.socket]] = []
        self._news = threading.Condition()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._awaited = b""
        self._passes_awaited = True
        self._halves = False
        self.has_come = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="wire", daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sent(self) -> int:
        """Bytes from all clients to the server."""
        with self._news:
            return sum(traffic.sent for traffic in self.connections)

    @property
    def received(self) -> int:
        """Bytes from the server to all clients."""
        with self._news:
            return sum(traffic.received for traffic in self.connections)

    @property
    def requests(self) -> int:
        """Round trips of all clients."""
        with self._news:
            return sum(traffic.requests for traffic in self.connections)

    def wait_until_closed(self, index: int = -1, timeout: float = 5.0) -> Traffic:
        """
        Wait until the client or the server has closed a connection, and return what passed over it.

        Raises:
            AssertionError: It is still open after *timeout* seconds.
        """
        with self._news:
            traffic = self.connections[index]
            is_closed = self._news.wait_for(lambda: traffic.client_closed or traffic.server_closed, timeout)
            assert is_closed, f"still open: {traffic}"
            return traffic

    def hold_answers(self) -> None:
        """Let requests pass but keep the server's answers back, until `release_answers`."""
        self._may_answer.clear()

    def hold_answer_to(self, words: bytes, *, halves: bool = False) -> None:
        """Let the next request that has *words* in it pass, and keep answers, or half of them, back from there on."""
        self.has_come.clear()
        self._passes_awaited, self._awaited, self._halves = True, words, halves

    def keep_from_server(self, words: bytes) -> None:
        """Swallow the next request that has *words* in it."""
        self.has_come.clear()
        self._passes_awaited, self._awaited = False, words

    def release_answers(self) -> None:
        """Let held answers pass."""
        self._may_answer.set()

    def cut(self, index: int = -1) -> None:
        """Break a connection on both sides, as a network does."""
        with self._news:
            pair = self._sockets[index]
        for end in pair:
            _shut(end)

    def close(self) -> None:
        """Break all connections and take no new ones."""
        _shut(self._listener)
        self._listener.close()
        self._may_answer.set()
        for end in [end for pair in self._sockets for end in pair]:
            _shut(end)
        for thread in self._threads:
            thread.join(5)
        for end in [end for pair in self._sockets for end in pair]:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        traffic = Traffic()
        with self._news:
            self.connections.append(traffic)
            self._sockets.append((client, server))
        for pump, source, target in ((self._pump_out, client, server), (self._pump_back, server, client)):
            thread = threading.Thread(target=pump, args=(source, target, traffic), name="wire", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pump_out(self, client: socket.socket, server: socket.socket, traffic: Traffic) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_CHUNK):
                with self._news:  # counted before it goes on: the answer must not overtake the count
                    traffic.sent += len(data)
                    traffic.requests += not traffic._is_asking
                    traffic._is_asking = True
                    self._news.notify_all()
                if self._awaited and self._awaited in data:
                    self._awaited = b""
                    self._may_answer.clear()
                    if self._passes_awaited:
                        server.sendall(data)
                    self.has_come.set()
                else:
                    server.sendall(data)
        with self._news:
            traffic.client_closed = True
            self._news.notify_all()
        _shut(server, socket.SHUT_WR)

    def _pump_back(self, server: socket.socket, client: socket.socket, traffic: Traffic) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_CHUNK):
                if self._halves and not self._may_answer.is_set():
                    client.sendall(data[: len(data) // 2])
                    data = data[len(data) // 2 :]
                self._may_answer.wait()
                with self._news:
                    traffic.received += len(data)
                    traffic._is_asking = False
                    self._news.notify_all()
                client.sendall(data)
        with self._news:
            traffic.server_closed = True
            self._news.notify_all()
        _shut(client, socket.SHUT_WR)


def _shut(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Shut a socket down, which wakes the thread that reads it; one that is not connected is fine."""
    with contextlib.suppress(OSError):
        end.shutdown(how)
