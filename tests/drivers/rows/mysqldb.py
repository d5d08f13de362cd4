"""The row of mysqlclient, which has to be built from source: where it is missing, `ROWS` goes without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import MySQLdb.cursors

from taskconn.drivers.mysqldb import MySQLdb as Driver
from taskconn.drivers.mysqldb._wire import TELLS_MORE
from tests.drivers.rows.pymysql import PyMySQLRow


class MySQLdbRow(PyMySQLRow):
    name = "mysqldb"
    driver = Driver
    scheme = "mysql+mysqldb"
    tells_more = TELLS_MORE
    plain: ClassVar[Mapping[str, str]] = {"ssl_mode": "DISABLED"}
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}"}

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor(MySQLdb.cursors.SSCursor)
        cursor.execute(f"SELECT seq FROM seq_1_to_{self.unread}")
        assert cursor.fetchone() == (1,)
        return cursor

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 1:
            with connection.cursor(MySQLdb.cursors.SSCursor) as cursor:
                cursor.execute(f"SELECT seq + {number} FROM seq_1_to_5")
                return [value for (value,) in cursor.fetchall()], [number + step for step in range(1, 6)]
        return super().ask(connection, number)
