"""One run of the program, under a watchdog: which sessions its processes used, how it ended, which cars arrived."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from examples.servers import MySQLServer, die_with_parent

#: Longest run, in seconds: processes that read each other's replies may wait for ever.
_WATCHDOG_S = 8.0

_USE = re.compile(r"^(process|parent) (\d+) uses session (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Attempt:
    """
    Tell how one run went.

    Attributes:
        returncode: How many of its processes failed; None if the watchdog ended it.
        sessions: Session by pid, of the ten processes.
        parent_session: Session of their parent.
        cars: Rows that were found afterwards.
        output: What it printed.
    """

    returncode: int | None
    sessions: dict[int, int]
    parent_session: int
    cars: int
    output: str

    def went_wrong(self, cars: int) -> bool:
        """Did a process fail or hang, or did a car get lost, of *cars* for each of the ten?"""
        return self.returncode != 0 or self.cars != 10 * cars

    def __str__(self) -> str:
        ending = "hung" if self.returncode is None else f"{self.returncode} processes failed"
        sessions = len(set(self.sessions.values()))
        return f"{len(self.sessions)} processes on {sessions} session(s), {ending}, {self.cars} cars"


def attempt(program: str, server: MySQLServer, database: str, cars: int) -> Attempt:
    """
    Run *program* (``"before"`` or ``"after"``) on an empty table `car` of *database*.

    Args:
        program: Name of the program in this folder.
        server: Server to run on.
        database: Name of a database on it; its table `car` is made anew.
        cars: Cars for each of the ten processes.
    """
    server.query("DROP TABLE IF EXISTS car", database=database)
    server.query("CREATE TABLE car (id INTEGER AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50))", database=database)
    path = Path(__file__).with_name(f"{program}.py")
    process = subprocess.Popen(
        die_with_parent([sys.executable, str(path), str(cars)]),
        env={**os.environ, "TASKCONN_URL": server.url(database)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    returncode: int | None
    try:
        output, _ = process.communicate(timeout=_WATCHDOG_S)
        returncode = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        returncode = None
    uses = _USE.findall(output)
    sessions = {int(pid): int(session) for who, pid, session in uses if who == "process"}
    parent_session = next((int(session) for who, _, session in uses if who == "parent"), 0)
    rows = server.query("SELECT COUNT(*) FROM car", database=database)[0][0]
    return Attempt(returncode, sessions, parent_session, rows, output)
