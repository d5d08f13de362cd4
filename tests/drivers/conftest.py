"""A row's database, and the alias that writes to it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drivers.rows import Row
from tests.drivers.tills import Till


@pytest.fixture
def database(row: Row, request: pytest.FixtureRequest) -> Any:
    """Give a database of the row's kind."""
    return request.getfixturevalue(f"{row.family}_database")


@pytest.fixture
def till(row: Row, database: Any) -> Till:
    """Give an alias of it."""
    return Till(row, database)
