"""One row per driver: how the suites use its connections. A new driver adds its row to `ROWS`."""

from __future__ import annotations

import importlib.util

from tests.drivers.rows.row import Row, target_of
from tests.support.lazy import Lazy, named

__all__ = ["ROWS", "Row", "target_of"]

#: Name to row. Where mysqlclient could not be built there is none of it; everywhere else its tests are run.
ROWS: Lazy[Row] = Lazy(
    {
        "pymysql": named("tests.drivers.rows.pymysql:PyMySQLRow"),
        "mysqlconnector": named("tests.drivers.rows.mysqlconnector:MySQLConnectorRow"),
        **({"mysqldb": named("tests.drivers.rows.mysqldb:MySQLdbRow")} if importlib.util.find_spec("MySQLdb") else {}),
        "psycopg": named("tests.drivers.rows.psycopg:PsycopgRow"),
        "psycopg2": named("tests.drivers.rows.psycopg2:Psycopg2Row"),
        "sqlite": named("tests.drivers.rows.sqlite:SQLiteRow"),
        "redis": named("tests.drivers.rows.redis:RedisRow"),
        "sqlalchemy": named("tests.drivers.rows.sqlalchemy:SQLAlchemyRow"),
    }
)
