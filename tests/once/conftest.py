"""A database with the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import taskconn
from taskconn import _ledger
from tests.once.deliveries import Handle


@pytest.fixture
def cars(tmp_path: Path) -> Iterator[Handle]:
    """Give a SQLite file with a table ``car`` and the ledger."""
    registry = taskconn.Registry()
    handle = registry.add("default", f"sqlite:///{tmp_path}/cars.db")
    with taskconn.lease(handle) as db:
        for statement in ("CREATE TABLE car (name TEXT)", *_ledger.statements("sqlite", "default")):
            db.execute(statement)
    yield handle
    registry.close()
