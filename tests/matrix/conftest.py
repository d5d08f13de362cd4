"""Servers with TLS for the matrix, what it has found, and how broad it is run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from examples.servers import ServerMissingError
from tests.drivers.rows import Row
from tests.matrix.families import FAMILIES, Family
from tests.matrix.results import Results
from tests.matrix.silence.trial import try_all
from tests.support.process import Script

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
    """Take in what one of several processes has found; one that has crashed tells nothing, and its test has failed."""
    found = getattr(node, "workeroutput", {}).get("matrix")
    if found:
        _RESULTS.add(found)


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


@pytest.fixture
def broken(
    row: Row,
    family: Family,
    transport: str,
    fork: str,
    results: Results,
    tmp_path: Path,
    script: Callable[..., Script],
) -> list[str]:
    """Run a child through all that it may do with its parent's connection, and give what did not hold."""
    return try_all(row, family, transport, fork, results, tmp_path, script)


@pytest.fixture
def server_comes_back(family: Family) -> Iterator[None]:
    """Have the server run again after the test."""
    yield
    if family.server.is_running():
        family.server.resume()
    else:
        family.server.start()
