"""A server that says nothing, and aliases of clients to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskconn import Registry
from tests.drivers.callables.lines import Line


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Give a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def aliases(listener: socket.socket) -> Iterator[Callable[..., Any]]:
    """Give a function that makes a handle of a client at `listener`, with options."""
    registry = Registry()
    number = iter(range(100))

    def make(connect: Any = Line, url: str | None = None, **options: Any) -> Any:
        arguments = {"connect": connect, "connect_args": {"port": listener.getsockname()[1]}, **options}
        return registry.add(f"line{next(number)}", arguments if url is None else {"url": url, **arguments})

    yield make
    registry.close()
