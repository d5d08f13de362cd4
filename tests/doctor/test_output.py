"""Findings are shown to people, programs and code hosts; the exit code says whether one was too bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskconn import cli
from taskconn.doctor._findings import RULES, Finding, Severity
from taskconn.doctor._output import FORMATS, summary, table

pytestmark = pytest.mark.portable

FINDING = Finding(RULES["TC001"], "a MySQL connection: 100%, opened", "shop/db.py", 12, 8)
ELSEWHERE = Finding(RULES["TC005"], "no place")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give a file with one error."""
    path = tmp_path / "db.py"
    path.write_text("import pymysql\nconn = pymysql.connect()\n")
    return path


def test_text_names_place_code_reason_and_remedy() -> None:
    """Each finding says where, what, why, and what to write."""
    text = FORMATS["text"]([FINDING, ELSEWHERE])

    assert text.splitlines()[0] == "shop/db.py:12:8: TC001 error: a MySQL connection: 100%, opened"
    assert RULES["TC001"].why in text
    assert RULES["TC001"].remedy in text
    assert "(docs/findings.md#tc001)" in text
    assert text.endswith("Found: 1 error, 1 warning.")


def test_json_has_all_of_a_finding() -> None:
    """A program reads what people read."""
    first, second = json.loads(FORMATS["json"]([FINDING, ELSEWHERE]))

    assert (first["code"], first["severity"], first["path"], first["line"]) == ("TC001", "error", "shop/db.py", 12)
    assert (second["path"], second["line"]) == ("", 0)


def test_sarif_has_rules_and_places() -> None:
    """Code hosts show it beside the line."""
    (run,) = json.loads(FORMATS["sarif"]([FINDING, ELSEWHERE]))["runs"]
    first, second = run["results"]

    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(RULES)
    place = first["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "shop/db.py"}, "region": {"startLine": 12, "startColumn": 8}}
    assert (first["level"], second["level"]) == ("error", "warning")
    assert "locations" not in second


def test_github_annotations_are_escaped() -> None:
    """Characters that end a command or a property are written as GitHub reads them back."""
    line, other = FORMATS["github"]([FINDING, ELSEWHERE]).splitlines()

    assert line.startswith("::error file=shop/db.py,line=12,col=8,title=TC001 connection opened at import::a MySQL")
    assert "100%25, opened" in line
    assert other.startswith("::warning title=TC005 ")


def test_table_shows_the_worst_first() -> None:
    """In a terminal the errors stand on top."""
    pytest.importorskip("rich")
    drawn = table([ELSEWHERE, FINDING])

    assert drawn.index("TC001") < drawn.index("TC005")
    assert table([]) == summary([]) == "Nothing was found."


@pytest.mark.parametrize(("fail_on", "code"), [("info", 1), ("error", 1), ("never", 0)], ids=["info", "error", "never"])
def test_exit_code_goes_by_severity(source: Path, fail_on: str, code: int) -> None:
    """``--fail-on`` says from which severity on a build fails."""
    assert cli.main(["lint", str(source), "--fail-on", fail_on]) == code


def test_warnings_alone_pass_where_errors_are_asked_for(tmp_path: Path) -> None:
    """A risk does not fail a build that is to fail for errors."""
    path = tmp_path / "tasks.py"
    path.write_text("import celery, psycopg\nclass T(celery.Task):\n  def f(self):\n    self.db = psycopg.connect()\n")

    assert cli.main(["lint", str(path), "--fail-on", "error"]) == 0
    assert cli.main(["lint", str(path)]) == 1


def test_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen is no clean result."""
    assert cli.main(["lint", str(tmp_path / "shoop")]) == cli.WRONG_USAGE
    assert "there is no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [b"print 'hello'\n", b"call(\n", b'x = 1\ny = "\xe9"\n', b'x = "\0"\n', b"(" * 1000 + b")" * 1000],
    ids=["of Python 2", "cut off", "of another encoding", "with a null byte", "deep"],
)
def test_unreadable_file_is_named_and_left_out(
    source: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """The others are checked all the same."""
    (source.parent / "old.py").write_bytes(content)

    assert cli.main(["lint", str(source.parent)]) == 1
    assert "old.py:1: left out" in capsys.readouterr().err


def test_what_is_called_as_a_module_and_is_no_file_is_passed_over(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An editor's lock, which is a link that leads nowhere, and a folder with the name of a module end nothing."""
    (source.parent / ".#shop.py").symlink_to("somebody@somewhere.4711")
    (source.parent / "folder.py").mkdir()

    assert cli.main(["lint", str(source.parent)]) == 1
    assert capsys.readouterr().err == ""


def test_every_rule_has_a_heading_in_the_docs() -> None:
    """The link of a finding leads somewhere, and a code's severity is what the page says."""
    page = (Path(__file__).parents[2] / "docs" / "findings.md").read_text()

    assert [line[3:] for line in page.splitlines() if line.startswith("## TC")] == list(RULES)
    for rule in RULES.values():
        heading, severity = f"## {rule.code}", Severity(rule.severity).word
        section = page[page.index(heading) :].split("\n## ", 1)[0]
        assert f"**{severity}**" in section
        assert rule.title.lower() in section.lower()
