"""`taskconn ledger`: makes, shows and prunes the table, where the settings say."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskconn.cli import main
from tests.support.databases import MySQLDatabase
from tests.support.process import Script

Run = Callable[..., Script]


@pytest.fixture
def run(script: Callable[..., Script]) -> Run:
    """Give a function that runs the command, as installed, with one URL in its environment."""

    def start(url: str, *words: str) -> Script:
        return script([sys.executable, "-m", "taskconn", "ledger", *words], environ={"TASKCONN_URL": url})

    return start


def test_table_is_made_and_pruned(run: Run, mysql_database: MySQLDatabase) -> None:
    """The table is made once; entries older than the age go, in several batches, the others stay."""
    for _ in range(2):
        assert "The table taskconn_ledger is there" in run(mysql_database.url, "create").succeed()
    now = int(time.time())
    for number in range(25):
        mysql_database.query(
            "INSERT INTO taskconn_ledger (entry, task_name, task_key, written_at) VALUES (%s, 'f', 'k', %s)",
            number,
            now - 1800 - number * 3600,
        )

    said = run(mysql_database.url, "prune", "--older-than", "5h", "--batch", "7").succeed()

    assert "20 entries deleted" in said
    assert mysql_database.query("SELECT COUNT(*) FROM taskconn_ledger") == [(5,)]


def test_missing_table_is_named(run: Run, tmp_path: Path) -> None:
    """Pruning a database without the table says what to run, and fails."""
    command = run(f"sqlite:///{tmp_path}/cars.db", "prune", "--older-than", "1d")

    assert command.wait() == 2
    assert "taskconn ledger create --alias default" in command.output


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://nowhere.invalid/shop", "ENGINE=InnoDB"),
        ("postgresql://nowhere.invalid/shop", "CREATE INDEX IF NOT EXISTS"),
        ("sqlalchemy+mysql+pymysql://nowhere.invalid/shop", "ENGINE=InnoDB"),
    ],
    ids=["mysql", "postgresql", "sqlalchemy"],
)
def test_statements_are_shown_without_a_server(run: Run, url: str, word: str) -> None:
    """Migrations need the statements, not a connection."""
    said = run(url, "show-ddl").succeed()

    assert word in said
    assert said.startswith("CREATE TABLE IF NOT EXISTS taskconn_ledger")


def test_shown_statements_are_those_that_are_run(run: Run, tmp_path: Path) -> None:
    """What is shown makes the table that the command makes."""
    said = run(f"sqlite:///{tmp_path}/never.db", "show-ddl").succeed()
    run(f"sqlite:///{tmp_path}/made.db", "create").succeed()

    with sqlite3.connect(":memory:") as shown, sqlite3.connect(tmp_path / "made.db") as made:
        shown.executescript(said)
        tables = [db.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() for db in (shown, made)]
    assert tables[0] == tables[1]
    assert not (tmp_path / "never.db").exists()
    shown.close()
    made.close()


def test_client_without_sql_is_refused(run: Run) -> None:
    """Redis has no table, and the command says which databases have."""
    command = run("redis://nowhere.invalid/0", "show-ddl")

    assert command.wait() == 2
    assert "it speaks no SQL, and taskconn knows mysql, postgresql, sqlite" in command.output


@pytest.mark.parametrize("age", ["7", "0d", "d", "-1d", "1y"])
def test_age_needs_a_unit(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An age without a unit is refused: nobody knows whether 7 are days or seconds."""
    with pytest.raises(SystemExit, match="2"):
        main(["ledger", "prune", f"--older-than={age}"])

    assert "write 90s, 30m, 12h, 7d or 2w" in capsys.readouterr().err
