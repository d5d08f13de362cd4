"""One row per driver: how the suites use its connections. A new driver adds its row to `ROWS`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.drivers.rows.mysql import MySQLConnectorRow, PyMySQLRow
from tests.drivers.rows.postgresql import Psycopg2Row, PsycopgRow
from tests.drivers.rows.redis import RedisRow
from tests.drivers.rows.row import Row, target_of
from tests.drivers.rows.sqlalchemy import SQLAlchemyRow
from tests.drivers.rows.sqlite import SQLiteRow

__all__ = [
    "ROWS",
    "MySQLConnectorRow",
    "Psycopg2Row",
    "PsycopgRow",
    "PyMySQLRow",
    "RedisRow",
    "Row",
    "SQLAlchemyRow",
    "SQLiteRow",
    "target_of",
]


def _mysqldb() -> list[Row]:
    """Give mysqlclient's row where it could be built; everywhere else its tests are skipped, for a reason."""
    try:
        from tests.drivers.rows.mysqldb import MySQLdbRow
    except ImportError:
        return []
    return [MySQLdbRow()]


#: Name to row.
ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        PyMySQLRow(),
        MySQLConnectorRow(),
        *_mysqldb(),
        PsycopgRow(),
        Psycopg2Row(),
        SQLiteRow(),
        RedisRow(),
        SQLAlchemyRow(),
    )
}
