"""A pytest plugin: it writes down each outcome as it comes, so that a session that hangs afterwards loses none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: Written when all tests have run; what hangs after it is the exit.
END = "END"


class Recorder:
    """Append lines to a file: outcome, tab, node id."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down failures of any phase, skips, and what passed."""
        if report.when == "call" or report.outcome != "passed":
            self._write(f"{report.outcome}\t{report.nodeid}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write down a file that can't be imported."""
        if report.failed:
            self._write(f"failed\t{report.nodeid}")

    def pytest_sessionfinish(self) -> None:
        """Write down the end."""
        self._write(f"{END}\t")

    def _write(self, line: str) -> None:
        if os.getpid() == self._pid:  # a test may fork, and come back into pytest by an exception
            with self._path.open("a") as file:
                file.write(line + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record, where the suite asks for it."""
    config.pluginmanager.register(Recorder(Path(os.environ["COMPAT_RECORD"])))
