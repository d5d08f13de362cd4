"""SQLite: what is opened, by what name, and with which settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from taskconn.drivers.sqlite import Connection
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options
from tests.drivers.rows import target_of
from tests.drivers.sqlite.client import driver, rows, target_at
from tests.support.process import Script

pytestmark = pytest.mark.portable


def test_defaults_are_write_ahead_log_and_busy_timeout(db: Connection) -> None:
    """Readers do not wait for writers, and writers wait for each other, as long as the module has it."""
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    assert db.isolation_level == ""


def test_settings_of_the_url_are_taken(path: Path) -> None:
    """Arguments of the module and a small set of PRAGMAs go into the URL by their own names."""
    url = "sqlite:////x?journal_mode=DELETE&timeout=0.25&foreign_keys=on&isolation_level=IMMEDIATE"
    db = driver.open(target_of(url, database=str(path)), 5)

    assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (250,)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert db.isolation_level == "IMMEDIATE"
    driver.close(db, 1)


@pytest.mark.parametrize(("name", "text"), [("journal_mode", "WAL; DROP TABLE car"), ("isolation_level", "FULL")])
def test_value_that_is_none_is_refused(path: Path, name: str, text: str) -> None:
    """A PRAGMA takes one word, and an isolation level is one of three."""
    with pytest.raises(InvalidSettingsError, match="Mend the value"):
        driver.validate(target_at(path, query={name: text}))


def test_isolation_level_none_needs_transaction_none(path: Path) -> None:
    """Where the lease is to roll back, a connection without transactions is refused."""
    target = target_at(path, query={"isolation_level": "None"})
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target)

    driver.validate(target_at(path, query={"isolation_level": "None"}, options=Options(transaction="none")))


def test_url_without_a_file_is_refused() -> None:
    """A file without a name would be a database that nobody finds again."""
    with pytest.raises(InvalidSettingsError, match=r"sqlite:///relative\.db"):
        driver.validate(target_at(""))


def test_missing_folder_is_the_modules_error(tmp_path: Path) -> None:
    """SQLite makes files, not folders."""
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        driver.open(target_at(tmp_path / "nowhere" / "cars.db"), 5)


def test_memory_is_private_and_has_no_file() -> None:
    """Every connection to ``:memory:`` has a database of its own, which shares nothing that a fork could harm."""
    one, other = driver.open(target_at(":memory:"), 5), driver.open(target_at(":memory:"), 5)

    one.execute("CREATE TABLE car (name TEXT)")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        other.execute("SELECT * FROM car")
    assert driver.resource(target_at(":memory:")) is None
    driver.close(one, 1)
    driver.close(other, 1)


def test_file_is_the_same_by_every_name(path: Path, tmp_path: Path) -> None:
    """What aliases share in a process is the file, through links too."""
    path.touch()
    (tmp_path / "link.db").symlink_to(path)

    assert driver.resource(target_at(tmp_path / "link.db")) == driver.resource(target_at(path)) == str(path.resolve())


def test_path_with_every_sign_is_one_file(tmp_path: Path) -> None:
    """Signs that mean something in an URI mean nothing in a file's name."""
    path = tmp_path / "a b?c#d%20&e.db"

    driver.close(driver.open(target_at(path), 5), 1)

    assert path.exists()


def test_read_only_file_is_opened_as_it_is(db: Connection, path: Path) -> None:
    """``mode=ro`` changes no journal mode, and refuses to write."""
    reader = driver.open(target_at(path, query={"mode": "ro"}), 5)

    assert reader.execute("SELECT * FROM car").fetchall() == []
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO car VALUES ('Volvo')")
    driver.close(reader, 1)


_OPENING_AT_ONCE = """
import multiprocessing, sys
from taskconn.drivers.sqlite import SQLite
from tests.drivers.rows import target_of

def work(number):
    driver = SQLite()
    ready.wait()
    db = driver.open(target_of(sys.argv[1]), 10)
    db.execute("CREATE TABLE IF NOT EXISTS car (name TEXT)")
    db.execute("INSERT INTO car VALUES (?)", (number,))
    driver.commit(db, 5)
    driver.close(db, 1)

context = multiprocessing.get_context("fork")
ready = context.Barrier(10)
processes = [context.Process(target=work, args=(number,)) for number in range(10)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print([process.exitcode for process in processes])
"""


def test_ten_processes_may_open_a_new_file_at_once(path: Path, script: Callable[..., Script]) -> None:
    """SQLite does not wait for others when it switches to the write-ahead log; the driver does."""
    assert script(_OPENING_AT_ONCE, f"sqlite:///{path}").succeed() == f"{[0] * 10}\n"
    assert len(rows(path)) == 10
