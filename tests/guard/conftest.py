"""Programs that fork with connections open, written to a folder of their own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
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
