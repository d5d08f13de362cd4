from __future__ import annotations

import difflib
from pathlib import Path

from examples import multiprocessing_app
from examples.multiprocessing_app.attempt import attempt
from tests.support.databases import MySQLDatabase

FOLDER = Path(multiprocessing_app.__file__).parent

#: Cars for each of the ten processes.
CARS = 20


def test_one_line_is_changed() -> None:
    """The program after differs from the program before in the line that connects, and nowhere else."""
    before, after = ((FOLDER / f"{name}.py").read_text().splitlines() for name in ("before", "after"))

    changes = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]

    assert len(changes) == 2
    assert changes[0].startswith("- conn = pymysql.connect(")
    assert changes[1] == '+ conn = taskconn.proxy("default")'


def test_before_all_processes_are_on_one_session_and_it_breaks(mysql_database: MySQLDatabase) -> None:
    """Ten processes share their parent's session always; within twenty tries one fails or hangs, or a car is lost."""
    for _ in range(20):
        seen = attempt("before", mysql_database.server, mysql_database.name, CARS)

        assert len(seen.sessions) == 10, seen.output
        assert set(seen.sessions.values()) == {seen.parent_session}
        if seen.went_wrong(CARS):
            return
    raise AssertionError("The program that shares one connection went well twenty times.")


def test_after_each_process_has_its_session_and_every_car_is_there(mysql_database: MySQLDatabase) -> None:
    """With the proxy ten processes are on ten sessions, none of them their parent's, and all cars arrive."""
    seen = attempt("after", mysql_database.server, mysql_database.name, CARS)

    assert not seen.went_wrong(CARS), seen.output
    assert len(seen.sessions) == len(set(seen.sessions.values())) == 10
    assert seen.parent_session not in seen.sessions.values()
