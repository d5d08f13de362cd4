"""Servers with TLS for the matrix, what it has found, and how broad it is run."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from examples.servers import ServerMissingError
from tests.drivers.rows import Row
from tests.matrix.families import FAMILIES, Family
from tests.matrix.relay import Relay
from tests.matrix.results import Results

_RESULTS = Results()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was found to the process that collects it, or write the page if one is asked for and all is well."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["matrix"] = _RESULTS.to_json()
        return
    page = os.environ.get("MATRIX_PAGE")
    if page and _RESULTS.passed and not session.testsfailed:  # a test that broke off has not counted what it left out
        _RESULTS.write(Path(page))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take in what one of several processes has found."""
    _RESULTS.add(node.workeroutput["matrix"])


@pytest.fixture(scope="session")
def results() -> Results:
    """Give what the matrix has found so far."""
    return _RESULTS


@pytest.fixture(scope="session")
def families() -> Iterator[Callable[[str], Family]]:
    """Give a function that gives a family by name, with its server started."""
    with ExitStack() as stack:
        started: dict[str, Family] = {}

        def start(name: str) -> Family:
            if name not in started:
                family = FAMILIES[name]()
                try:
                    family.start()
                except ServerMissingError as error:
                    if os.environ.get("CI") == "true":
                        pytest.fail(f"CI=true, and a test would be skipped: {error}", pytrace=False)
                    pytest.skip(str(error))
                stack.callback(family.stop)
                started[name] = family
                _RESULTS.servers[name] = family.version()
            return started[name]

        yield start


@pytest.fixture
def family(row: Row, families: Callable[[str], Family]) -> Family:
    """Give what the row connects to."""
    return families(row.family)


class Control:
    """Answer what a program asks of the family and of the relay, over a Unix socket."""

    def __init__(self, path: Path, family: Family, relay: Relay) -> None:
        self.path = path
        self._family, self._relay = family, relay
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._asker: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and answering."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # nobody may have come: `close` would leave `accept` waiting
        self._listener.close()
        if self._asker is not None:  # a child of a killed program may hold its end
            with contextlib.suppress(OSError):
                self._asker.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)

    def _run(self) -> None:
        try:
            self._asker, _ = self._listener.accept()
        except OSError:
            return
        with self._asker, self._asker.makefile("rw") as lines:
            try:
                for line in lines:
                    name, *arguments = json.loads(line)
                    print(json.dumps(self._answer(name, arguments)), file=lines, flush=True)
            except OSError:  # the program was killed
                return

    def _answer(self, name: str, arguments: list[Any]) -> dict[str, Any]:
        owner = self._relay if name in {"sent", "received"} else self._family
        try:
            return {"value": getattr(owner, name)(*arguments)}
        except Exception as error:  # noqa: BLE001 - told to the program
            return {"error": repr(error)}
