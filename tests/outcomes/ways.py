"""Ways to end that tasks of Celery and jobs of RQ have alike; those of one alone are in `app.py` and `jobs.py`."""

# ruff: noqa: D103 -- the names say what they do
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from tests.drivers.rows import Row
from tests.outcomes.bodies import say, wait_for_file, wait_in_python, wait_in_statement, write

#: Gets the driver's row, the connection, the task's key, and what the task system throws at a limit.
Way = Callable[[Row, Any, str, type[BaseException]], Any]

#: The ways, each with its arguments of `with_db`.
WAYS: list[tuple[Way, dict[str, Any]]] = []


def way(**injection: Any) -> Callable[[Way], Way]:
    """Add a way; *injection* are arguments of `with_db`."""

    def register(body: Way) -> Way:
        WAYS.append((body, injection))
        return body

    return register


# -- what functions do by themselves -----------------------------------------------------------------------------------


@way()
def returns(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)


@way()
def raises(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    raise ValueError(key)


@way(commit_on=(ValueError,))
def raises_and_keeps(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    raise ValueError(key)


@way(rollback_on=lambda result: result is False)
def returns_failure(row: Row, db: Any, key: str, limit: type[BaseException]) -> bool:
    write(row, db, key)
    return False


@way()
def exits(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    sys.exit(3)


@way()
def raises_keyboard_interrupt(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    raise KeyboardInterrupt


# -- what strikes them -------------------------------------------------------------------------------------------------


@way()
def waits(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    say("in-transaction", key)
    wait_in_python()


@way()
def waits_in_statement(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    say("in-transaction", key)
    wait_in_statement(row, db, 2.0)
    wait_in_python()


@way()
def swallows(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    try:
        wait_in_python()
    except limit:
        say("swallowed", key)


@way()
def asks_again(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    try:
        wait_in_statement(row, db, 2.0)
        wait_in_python()
    except limit:
        answer, right = row.ask(db, 3)
        say("asked-again", key, "right" if answer == right else "wrong")


@way()
def waits_for_release(row: Row, db: Any, key: str, limit: type[BaseException]) -> None:
    write(row, db, key)
    say("in-transaction", key)
    wait_for_file(os.environ["OUTCOMES_RELEASE"])
