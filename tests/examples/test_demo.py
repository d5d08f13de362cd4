from __future__ import annotations

import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from examples.demo import __main__ as command
from examples.demo import report
from examples.demo.events import Event
from examples.demo.history import History, Kill
from examples.demo.proof import Claim, prove
from examples.demo.stage import Stage
from tests.support.process import ROOT, Script

StartScript = Callable[..., Script]

DEMO = ["-m", "examples.demo"]

#: Printed by each part as it gets on; without a terminal there is a line for each quarter.
SOME_ARE_DONE = r"^(Celery|RQ|Pool): \d+ of"


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder whose path leaves room for the names of sockets, which the kernel limits to 107 bytes."""
    return tmp_path_factory.mktemp("d")


@pytest.fixture
def demo(script: StartScript, short_folder: Path) -> Callable[..., Script]:
    """Give a function that starts the demo, with all that it makes in `short_folder`."""
    return lambda *options: script([sys.executable, *DEMO, *options], environ={"TMPDIR": str(short_folder)})


def _started_by(folder: Path) -> list[str]:
    """List the processes whose TMPDIR is *folder*, or in it."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        with suppress(psutil.Error):
            is_ours = process.environ().get("TMPDIR", "").startswith(str(folder))
            if is_ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.info['cmdline']}")
    return found


def test_demo_shows_tables_and_proof_and_leaves_nothing(
    demo: Callable[..., Script], short_folder: Path, tmp_path: Path
) -> None:
    """All tasks of the three systems have one row, a child of each was killed, and nothing is left running."""
    page = tmp_path / "report.html"

    output = demo("--tasks", "40", "--report", str(page)).succeed(100)

    assert re.search(r"Celery +\| parent +\|", output), output
    assert re.search(r"\d+ work horses of \d+, 1 killed", output), output
    assert len(re.findall(r"^\| .* tasks with exactly one row +\| +40 \| +40 \| ok \|", output, re.MULTILINE)) == 3
    assert re.search(r"children killed inside a transaction +\| +3 \| +3 \| ok", output)
    assert "The proof holds." in output
    assert "\x1b" not in output
    assert "<svg" in page.read_text()
    assert list(short_folder.iterdir()) == []
    assert _started_by(short_folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_demo_leaves_nothing(
    demo: Callable[..., Script], short_folder: Path, number: signal.Signals
) -> None:
    """Ctrl-C, or SIGTERM, in the middle of the run ends every process and removes every file."""
    run = demo("--tasks", "400", "--database", "sqlite")
    run.wait_for(SOME_ARE_DONE, 60)

    assert run.stop(number) == 128 + number

    assert list(short_folder.iterdir()) == []
    assert _started_by(short_folder) == []


class Rows:
    """A database of the demo, in memory, as a finished run of two tasks leaves it."""

    name, url, has_sessions = "memory", "", True

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self.query("CREATE TABLE car (system, number, pid, session)")
        self.query("CREATE TABLE parent (system, pid, session)")
        self.query("INSERT INTO parent VALUES ('RQ', 1, 10)")
        self.query("INSERT INTO car VALUES ('RQ', 0, 2, 11), ('RQ', 1, 3, 12)")

    def query(self, statement: str) -> list[tuple[object, ...]]:
        return self._connection.execute(statement).fetchall()

    def wrong_claims(self) -> list[str]:
        claims = prove(self, ["RQ"], tasks=2, parents=1, kills=[Kill("RQ", 4, 1, 0.0)])  # type: ignore[arg-type]  # the same face
        return [claim.text for claim in claims if not claim.holds]


@pytest.fixture
def rows() -> Iterator[Rows]:
    """Give the rows of a good run."""
    made = Rows()
    yield made
    made._connection.close()


def test_rows_of_a_good_run_prove_everything(rows: Rows) -> None:
    """Where every number is as promised, no claim is wrong."""
    assert rows.wrong_claims() == []


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("DELETE FROM car WHERE number = 0", ["RQ: tasks with exactly one row"]),
        ("INSERT INTO car VALUES ('RQ', 0, 2, 11)", ["RQ: tasks with exactly one row"]),
        ("UPDATE car SET pid = 4 WHERE number = 1", ["rows that killed attempts have left"]),
        ("UPDATE car SET session = 11", ["sessions that two processes shared"]),
        ("UPDATE car SET session = 10 WHERE number = 0", ["rows that came by a parent's session"]),
        ("DELETE FROM parent", ["parents' transactions, open across the forks, committed"]),
    ],
    ids=["lost row", "row twice", "row of a killed attempt", "shared session", "parent's session", "parent's row"],
)
def test_proof_fails_by(rows: Rows, fault: str, wrong: list[str]) -> None:
    """Each kind of damage makes its own claim wrong."""
    rows.query(fault)

    assert rows.wrong_claims() == wrong


def test_proof_that_fails_ends_the_demo_with_1(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whether the proof holds."""
    monkeypatch.setattr(Stage, "start", lambda *_: rows)
    monkeypatch.setattr(Stage, "play", lambda *_: None)
    monkeypatch.setattr(Stage, "prove", lambda *_: [Claim("rows", 2, 1)])

    assert command.main(["--tasks", "2"]) == 1

    assert "The proof DOES NOT HOLD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--report", "demo.pdf"], "a report ends in .html or .svg"),
        (["--report", "/no/such/folder/demo.svg"], "there is no folder"),
        (["--tasks", "0"], "at least 1 is needed"),
    ],
    ids=["ending", "folder", "tasks"],
)
def test_demo_refuses(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be done is refused before anything is started."""
    with pytest.raises(SystemExit, match="2"):
        command.main(options)

    assert message in capsys.readouterr().err


def test_report_is_a_picture_that_needs_nothing_else(tmp_path: Path) -> None:
    """An SVG is well-formed, names each lane, and refers to nothing outside of itself."""
    history = History(100.0)
    history.add(Event("parent", "RQ", 1, 0, 100.1, 100.2, 100.3))
    history.add(Event("done", "RQ", 2, 1, 101.0, 101.1, 101.2, 0, {"opens": 1, "discards": 1}))
    halted = Event("halted", "RQ", 3, 1, 102.0, 102.1, 102.2, 1)
    history.add(halted)
    history.add_kill(halted, 102.3)

    report.write(tmp_path / "demo.svg", history, ["RQ"], [Claim("rows <of> RQ", 2, 2)], "memory")

    picture = ET.parse(tmp_path / "demo.svg").getroot()
    words = ["".join(element.itertext()) for element in picture]
    assert "RQ parent 1" in words
    assert "RQ horses of 1" in words
    assert "rows <of> RQ" in words
    assert not re.search(r"(href|src|url\()", (tmp_path / "demo.svg").read_text())


def test_no_file_of_the_examples_is_long() -> None:
    """Each file is read in one sitting."""
    assert [path for path in (ROOT / "examples").rglob("*.py") if len(path.read_text().splitlines()) > 300] == []
