"""The driver that the tests of PyMySQL share, and how they use its connections."""

from __future__ import annotations

from typing import Any

from taskconn.drivers.pymysql import Connection, PyMySQL
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase

driver = PyMySQL()


def target_in(database: MySQLDatabase, **query: str) -> Any:
    """Name *database*, with arguments of PyMySQL's."""
    return target_of(database.url, query=query)


def execute(db: Connection, sql: str, cursor_class: Any = None) -> Any:
    """Run one statement, and give its cursor."""
    cursor = db.cursor(cursor_class)
    cursor.execute(sql)
    return cursor
