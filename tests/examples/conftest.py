"""What the examples need of their machine."""

from __future__ import annotations

import sys

import pytest

from tests.support.databases import MySQLDatabase, RedisDatabase

if sys.platform == "win32":
    collect_ignore_glob = ["test_*"]  # they fork, and start servers that have no Windows build


@pytest.fixture
def environ(request: pytest.FixtureRequest, mysql_database: MySQLDatabase, redis_db: RedisDatabase) -> dict[str, str]:
    """Give the variables that the application in the module's FOLDER reads, with its tables made."""
    for statement in filter(str.strip, (request.module.FOLDER / "schema.sql").read_text().split(";")):
        mysql_database.query(statement)
    return {"BROKER_URL": redis_db.url, "SHOP_URL": mysql_database.url}
