"""How the tests of both PostgreSQL drivers use them alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from taskconn.driver import Driver

#: Name of a driver to its scheme.
SCHEMES = {"psycopg": "postgresql", "psycopg2": "postgresql+psycopg2"}

Make = Callable[..., Any]


def url_for(name: str, url: str) -> str:
    """Have *url* choose the driver *name*."""
    return url.replace("postgresql:", f"{SCHEMES[name]}:", 1)


def run(db: Any, sql: str, *arguments: Any) -> Any:
    """Run one statement, and give its cursor."""
    cursor = db.cursor()
    cursor.execute(sql, arguments or None)
    return cursor


def value(db: Any, sql: str, *arguments: Any) -> Any:
    """Give the one value that a statement asks for."""
    return run(db, sql, *arguments).fetchone()[0]


def drop_while_it_waits(driver: Driver[Any], db: Any, ask: Callable[[], object]) -> BaseException | None:
    """Have a thread *ask*, invalidate its connection while it waits for the answer, and give what it got for it."""
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            ask()
        except Exception as error:  # noqa: BLE001 -- what is asked for
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 5
    while not driver.has_pending_reply(db) and time.monotonic() < deadline:
        time.sleep(0.001)
    driver.invalidate(db)
    thread.join(5)
    assert not thread.is_alive()
    return errors[0] if errors else None
