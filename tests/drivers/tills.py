"""A table of each server's, and leases of every kind that write to it: all of it is committed, or nothing is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import taskconn
from taskconn import Registry
from taskconn.errors import CommitOutcomeUnknownError
from tests.drivers.rows import Row
from tests.matrix.rows import ROWS
from tests.support.wire import Wire

__all__ = ["PATIENCE_S", "SETTLE_S", "Till", "for_rows"]

#: Longest wait for what is a matter of milliseconds, in seconds.
PATIENCE_S = 30.0
#: The alias's `settle_timeout` behind a proxy, in seconds.
SETTLE_S = 0.3

_SERVED = [row for row in ROWS.values() if row.family in {"mysql", "postgresql"}]


def for_rows(chosen: Callable[[Row], bool]) -> Any:
    """Run a test for each of those rows."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in _SERVED if chosen(row)])


class Till:
    """An alias of a row's kind, and what it has done."""

    def __init__(self, row: Row, database: Any, proxy: Wire | None = None) -> None:
        self.row, self.database = row, database
        url = f"{row.scheme}://{database.url.partition('://')[2]}"
        if proxy is not None:
            server = database.server
            url = url.replace(f"{server.host}:{server.port}/", f"{proxy.host}:{proxy.port}/")
        options = {"settle_timeout": SETTLE_S} if proxy is not None else {}
        self.handle = Registry().add("till", {"url": url, **row.options, **options})
        self.done: list[str] = []
        with taskconn.lease(self.handle) as db:
            row.prepare(db)

    @contextlib.contextmanager
    def lease(self) -> Iterator[Any]:
        """Take a lease, and note it if it says that it was committed."""
        with taskconn.lease(self.handle) as db:
            taskconn.after_commit(self.done.append, "receipt")
            yield db

    @contextlib.contextmanager
    def refusing(self, words: str = ".") -> Iterator[None]:
        """Expect that the lease ends in the driver's error, and no unknown outcome."""
        with pytest.raises(self.errors, match=words) as caught:
            yield
        assert not isinstance(caught.value, CommitOutcomeUnknownError)

    @property
    def errors(self) -> Any:
        """The driver's errors."""
        return self.handle.registry.pool("till").driver.errors

    def kill(self, db: Any) -> None:
        """End the session of *db* at the server."""
        self.database.server.kill_session(int(self.row.session_id(db)))

    def values(self) -> list[str]:
        """List what was committed."""
        return [name for (name,) in self.database.query("SELECT name FROM car ORDER BY name")]

    def holds(self) -> bool:
        """Is nothing committed, and does the next lease work?"""
        found = self.values()
        with self.lease() as db:
            self.row.write(db, "next")
        is_sound = (found, self.values(), self.done) == ([], ["next"], ["receipt"])
        self.handle.registry.close()
        return is_sound and self._is_left()

    def _is_left(self) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while self.database.sessions() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.database.sessions()
