"""Where tasks of these tests write: one place for each driver, read back over a connection of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.rows import ROWS, Row, target_of
from tests.support.databases import empty_redis_database, fresh_mysql_database, fresh_postgresql_database


@dataclass(frozen=True)
class Place:
    """
    An empty place with room for values.

    Attributes:
        row: How the driver is used.
        url: URL that chooses it.
    """

    row: Row
    url: str

    @property
    def name(self) -> str:
        """Name of the driver's row, and of its alias."""
        return self.row.name

    def values(self, prefix: str = "") -> list[str]:
        """List what has been committed and begins with *prefix*, in order."""
        driver = self.row.driver()
        with self.connected(driver) as connection:
            return [value for value in self.row.values(connection) if value.startswith(prefix)]

    def prepare(self) -> None:
        """Make room."""
        driver = self.row.driver()
        with self.connected(driver) as connection:
            self.row.prepare(connection)
            driver.commit(connection, 5)

    @contextmanager
    def connected(self, driver: Any) -> Iterator[Any]:
        """Open a connection of the test's own."""
        connection = driver.open(target_of(self.url), 30)
        try:
            yield connection
        finally:
            driver.close(connection, 1)


@contextmanager
def places_of(request: pytest.FixtureRequest, folder: Path) -> Iterator[dict[str, Place]]:
    """Make an empty place for every driver; servers are the session's."""
    with ExitStack() as stack:
        places: dict[str, Place] = {}
        for number, (name, row) in enumerate(ROWS.items()):
            if row.family == "sqlite":
                url = f"sqlite:///{folder}/{name}.db?timeout=20"
            elif row.family == "redis":
                url = stack.enter_context(
                    empty_redis_database(request.getfixturevalue("redis_server"), 40 + number)
                ).url
            elif row.family == "mysql":
                url = stack.enter_context(fresh_mysql_database(request.getfixturevalue("mariadb"))).url
            else:
                url = stack.enter_context(fresh_postgresql_database(request.getfixturevalue("postgresql"))).url
            places[name] = Place(row, f"{row.scheme}:{url.partition(':')[2]}")
            places[name].prepare()
        yield places
