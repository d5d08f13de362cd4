"""
RQ's own tests with taskconn's worker classes in the place of RQ's, beside a run without: as many have to pass.

``make compat``, or ``python tests/compat/rq_suite.py [FILE ...]`` for some files of the suite. The tests come from the
source distribution of the RQ that is installed. Each file runs in a pytest session of its own: as it is, with the six
classes of taskconn's that have RQ's names, and with `WarmWorker` and `WarmHerokuWorker` as two of them. What fails is
run again by itself, three times at the most.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from examples.servers import Redis, die_with_parent  # noqa: E402 -- the tree is no installed package

SHIM = Path(__file__).parent / "shim"

#: Longest run of one file, in seconds; the longest takes about 60.
FILE_TIMEOUT_S = 300.0

#: Longest wait for pytest's exit once all tests of a file have run: some of RQ's tests leave processes that are joined.
EXIT_TIMEOUT_S = 10.0

#: How often a failed test is run again by itself: some of RQ's wait fixed times.
RETRIES = 3


@dataclass
class Outcome:
    """What became of the tests of one file: node ids."""

    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    flaky: set[str] = field(default_factory=set)
    is_hung: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        flaky = f" ({len(self.flaky)} flaky)" if self.flaky else ""
        hung = " hung" if self.is_hung else ""
        return f"{len(self.passed):4} passed{flaky} {len(self.failed):3} failed {len(self.skipped):3} skipped{hung}"


class Suite:
    """
    Run RQ's tests from a folder.

    Args:
        folder: Has RQ's ``tests``, and nothing of its package.
        port: Port of a Redis of one's own.
        swap: Which of taskconn's classes to put in: "none", "same" for those of the same name, "warm" for warm ones.
    """

    def __init__(self, folder: Path, port: int, swap: str) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKCONN_", "RQ_"))}
        self.environ = clean | {
            "COMPAT_REDIS_PORT": str(port),
            "COMPAT_SWAP": swap,
            "PYTHONPATH": os.pathsep.join([str(SHIM), str(folder)]),  # before `tests` of this tree
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        expected = {"none": "rq.worker", "same": "taskconn.rq._worker.Worker", "warm": "taskconn.rq._warm.WarmWorker"}[
            swap
        ]
        found = self._ask("import rq.worker_pool as p, inspect; print(inspect.signature(p.run_worker), p.Worker)")
        if f"<class '{expected}" not in found or found.count(expected) < 2:
            raise SystemExit(f"the classes were not put in as expected ({expected}): {found}")

    def run(self, file: str) -> Outcome:
        """Run one file, then what failed in it again."""
        started = time.monotonic()
        outcome = self._session([f"tests/{file}"], FILE_TIMEOUT_S)
        for test in sorted(outcome.failed):
            if any(test in self._session([test], FILE_TIMEOUT_S / 3).passed for _ in range(RETRIES)):
                outcome.failed.discard(test)
                outcome.passed.add(test)
                outcome.flaky.add(test)
        outcome.seconds = time.monotonic() - started
        return outcome

    def _session(self, tests: list[str], timeout_s: float) -> Outcome:
        """Run a pytest session; its process group is ended when it hangs."""
        with tempfile.TemporaryDirectory() as folder:
            record, log = Path(folder, "record"), Path(folder, "log")
            record.touch()
            words = [sys.executable, "-m", "pytest", "-q", "-p", "compat_record", "-p", "no:cacheprovider", *tests]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    die_with_parent(words),
                    cwd=self.folder,
                    env=self.environ | {"COMPAT_RECORD": str(record)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            is_hung = not _wait(process, record, timeout_s)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            outcome = _read(record)
            outcome.is_hung = is_hung
            if is_hung:
                outcome.failed.add(f"{tests[0]} (hung)")
            for test in outcome.failed:
                print(f"    failed: {test}", flush=True)
            if outcome.failed and os.environ.get("COMPAT_VERBOSE"):
                print(log.read_text(errors="replace")[-8000:])
            return outcome

    def _ask(self, source: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", source],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr


def _wait(process: subprocess.Popen[bytes], record: Path, timeout_s: float) -> bool:
    """Wait for the end of a session; False if its tests did not come to an end in time."""
    deadline, ended_at = time.monotonic() + timeout_s, None
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            return True
        now = time.monotonic()
        if ended_at is None and record.read_text().endswith("END\t\n"):
            ended_at = now
        if ended_at is not None and now > ended_at + EXIT_TIMEOUT_S:
            return True
        if now > deadline:
            return False


def _read(record: Path) -> Outcome:
    outcome = Outcome()
    for line in record.read_text().splitlines():
        kind, _, test = line.partition("\t")
        if kind != "END":
            getattr(outcome, kind).add(test)
    outcome.passed -= outcome.failed  # passed, and failed when it was torn down
    return outcome


def fetch(folder: Path) -> tuple[str, Path]:
    """
    Download the source distribution of the RQ that is installed, and unpack its tests alone.

    Returns:
        RQ's version, and the folder that has ``tests``.
    """
    version = importlib.metadata.version("rq")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "rq", f"rq=={version}"]
    subprocess.run(pip, cwd=folder, check=True)
    with tarfile.open(next(folder.glob("rq-*.tar.gz"))) as archive:
        tests = [member for member in archive.getmembers() if member.name.startswith(f"rq-{version}/tests/")]
        archive.extractall(folder, members=tests, filter="data")
    suite = folder / f"rq-{version}"
    (suite / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    ssl_test\n")
    return version, suite


def main(words: Iterable[str] | None = None) -> int:
    """Run both, print the table, and return 1 if fewer tests pass with taskconn's classes."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # servers and folder are left tidy
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="files of RQ's suite, such as test_worker.py; all if none is named")
    wanted = parser.parse_args(words).files

    swaps = ("none", "same", "warm")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskconn-compat-"))
        version, tests = fetch(Path(folder))
        files = wanted or sorted(path.name for path in (tests / "tests").glob("test_*.py"))
        suites = [Suite(tests, stack.enter_context(Redis()).port, swap) for swap in swaps]
        totals = [Outcome() for _ in swaps]
        print(f"RQ {version}: its own tests, then with the classes of taskconn.rq, then with its warm ones", flush=True)
        for file in files:
            outcomes = [suite.run(file) for suite in suites]
            columns = "  |  ".join(str(outcome) for outcome in outcomes)
            print(f"{file:36} {columns}  {sum(o.seconds for o in outcomes):6.1f} s", flush=True)
            for total, outcome in zip(totals, outcomes, strict=True):
                for kind in ("passed", "failed", "skipped", "flaky"):
                    getattr(total, kind).update(getattr(outcome, kind))

    print(f"{'all':36} {'  |  '.join(str(total) for total in totals)}")
    baseline, *others = totals
    for swap, total in zip(swaps[1:], others, strict=True):
        for test in sorted(baseline.passed - total.passed):
            print(f"passes without taskconn, not with the {swap} classes: {test}")
    if not any(baseline.passed - total.passed for total in others):
        print("every test that passes without passes")
    return int(any(len(total.passed) < len(baseline.passed) for total in others) or not baseline.passed)


if __name__ == "__main__":
    sys.exit(main())
