"""What the matrix has found, and the page that it makes of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections import Counter, defaultdict
from pathlib import Path

from tests.drivers.rows import Row
from tests.matrix.rows import ROWS

PROMISES = ("Silence", "Liveness", "Cleanliness", "Bad input")

_HEAD = """# The matrix

What every driver promises, tried in every combination on private servers. `make matrix` runs it and writes this page;
`make test` runs a part of it, with every driver and everything that a child may do.

- **Silence**: a child process does what it likes with its parent's connection, and the parent's session, transaction
  and next answer are as they were. A proxy saw no byte of the child's, the child has no descriptor of the socket, and a
  killed parent's sessions end at once.
- **Liveness**: the server, or the way to it, goes away; the next lease has a working connection, or says in time that
  there is none. Never a stale row.
- **Cleanliness**: what one task leaves behind, the next one does not see: all of it with `reset=True`; open
  transactions, unread replies and a switched autocommit always.
- **Bad input**: an error that names the alias and the server, without the password. A client library that is too old
  is refused by name and version: `tests/drivers/test_table.py`.
"""


class Results:
    """Count combinations by driver and promise."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()
        self.failed: Counter[tuple[str, str]] = Counter()
        self.not_possible: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.servers: dict[str, str] = {}

    def note(self, driver: str, promise: str, *, passed: bool) -> None:
        """Count a combination that was run."""
        (self.passed if passed else self.failed)[driver, promise] += 1

    def note_impossible(self, driver: str, promise: str, combination: str, reason: str) -> None:
        """Take down a combination that can't be had, and why."""
        self.not_possible[driver, promise][reason].append(combination)

    def to_json(self) -> str:
        """Give all of it, for another process."""
        counts = [[list(key), count] for key, count in self.passed.items()]
        failed = [[list(key), count] for key, count in self.failed.items()]
        impossible = [[list(key), dict(reasons)] for key, reasons in self.not_possible.items()]
        return json.dumps([counts, failed, impossible, self.servers])

    def add(self, found: str) -> None:
        """Add what another process has found."""
        passed, failed, impossible, servers = json.loads(found)
        self.passed.update({(driver, promise): count for (driver, promise), count in passed})
        self.failed.update({(driver, promise): count for (driver, promise), count in failed})
        for (driver, promise), reasons in impossible:
            for reason, combinations in reasons.items():
                self.not_possible[driver, promise][reason] += combinations
        self.servers.update(servers)

    def page(self) -> str:
        """Write the page."""
        breadth = "every combination" if os.environ.get("MATRIX") == "full" else "the part that `make test` runs"
        lines = [
            _HEAD,
            f"This run: {breadth}. Run / passed / not possible:",
            "",
            f"| driver | {' | '.join(PROMISES)} |",
        ]
        lines.append(f"|---{'|---' * len(PROMISES)}|")
        lines += [f"| {name} | {' | '.join(self._cell(name, promise) for promise in PROMISES)} |" for name in ROWS]
        total = [str(sum(counter.values())) for counter in (self.passed + self.failed, self.passed)]
        not_possible = sum(len(found) for reasons in self.not_possible.values() for found in reasons.values())
        lines += ["", f"Together {total[0]} combinations were run, and {total[1]} passed; {not_possible} can't be had."]
        lines += ["", "## Versions", ""]
        lines += ["| driver | package | server |", "|---|---|---|"]
        lines += [f"| {name} | {_versions(ROWS[name])} | {self.servers.get(ROWS[name].family, '')} |" for name in ROWS]
        lines += ["", f"Python {platform.python_version()} on {platform.system()}.", "", "## Not possible", ""]
        lines += ["| driver | promise | combinations | why |", "|---|---|---|---|"]
        for (driver, promise), reasons in sorted(self.not_possible.items()):
            for reason, found in sorted(reasons.items()):
                lines.append(f"| {driver} | {promise} | {len(found)}: {_summary(found)} | {reason} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the page to *path*."""
        path.write_text(self.page())

    def _cell(self, driver: str, promise: str) -> str:
        passed, failed = self.passed[driver, promise], self.failed[driver, promise]
        impossible = sum(map(len, self.not_possible.get((driver, promise), {}).values()))
        return f"{passed + failed} / {passed} / {impossible}"


def _summary(found: list[str]) -> str:
    """Name combinations that differ in one word after the other by the words that vary."""
    columns = list(zip(*(words.split(", ") for words in found), strict=False))
    if len({len(words.split(", ")) for words in found}) > 1:
        return "; ".join(sorted(found))
    parts = [" / ".join(dict.fromkeys(column)) for column in map(sorted, columns)]
    return ", ".join(parts)


def _versions(row: Row) -> str:
    packages = dict.fromkeys(name for name in (row.driver.package, row.package) if name not in {"", "taskconn"})
    return ", ".join(map(_version, packages))


def _version(package: str) -> str:
    for name in (package, f"{package}-binary"):
        try:
            return f"{package} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return package
