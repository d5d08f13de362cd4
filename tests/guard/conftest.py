"""Programs that fork with connections open, what the guard reports of them, and a server of another process."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.process import Script

#: What the guard says of a connection, in its log lines and its errors.
_REPORT = re.compile(
    r"(?:open |; )([\w ]+) connection to (\S+) \(descriptor \d+\), (.*?)(?:[.;:] |[.:]?$)", re.MULTILINE
)


@dataclass(frozen=True)
class Report:
    """
    One connection that the guard has reported.

    Attributes:
        kind: Kind of server.
        address: Where to.
        where: Where it was opened, what holds it.
    """

    kind: str
    address: str
    where: str


def reports(output: str) -> list[Report]:
    """List what the guard has reported in *output*."""
    return [Report(*found) for found in _REPORT.findall(output)]


def arguments_of(url: str) -> dict[str, Any]:
    """Give the arguments that clients connect with, from a server's URL."""
    parts = urlsplit(url)
    names = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    return {**names, "database": parts.path[1:]}


@pytest.fixture
def run(tmp_path: Path, script: Callable[..., Script]) -> Callable[..., Script]:
    """
    Give a function that writes programs and runs the last one of them, by default under ``taskconn run``.

    ``run({"shop/db.py": "...", "main.py": "..."}, guard="fence")``; with ``guard=None`` the bare interpreter runs it.
    """

    def start(files: dict[str, str], *words: str, guard: str | None = "warn", **environ: str) -> Script:
        for name, source in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        program = list(files)[-1]
        command = [sys.executable, *(["-m", "taskconn", "run", f"--guard={guard}", *words] if guard else []), program]
        return script(command, cwd=tmp_path, environ=environ)

    return start


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Give a stack that closes sockets."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def peer(opened: ExitStack) -> tuple[str, int]:
    """Give the address of a server in another process's place: its listening socket is not ours to see."""
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    address: tuple[str, int] = server.getsockname()
    child = os.fork()
    if child == 0:
        try:
            while True:
                server.accept()
        finally:
            os._exit(0)
    opened.callback(os.waitpid, child, 0)
    opened.callback(os.kill, child, 9)
    server.close()
    return address
