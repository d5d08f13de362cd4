"""The row of mysql-connector-python."""

from __future__ import annotations

from typing import Any

from taskconn.drivers.mysqlconnector import MySQLConnector
from tests.drivers.rows.pymysql import PyMySQLRow


class MySQLConnectorRow(PyMySQLRow):
    name = "mysqlconnector"
    driver = MySQLConnector
    scheme = "mysql+mysqlconnector"

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute(f"SELECT seq FROM seq_1_to_{self.unread}")
        assert cursor.fetchone() == (1,)
        return cursor

    def session_id(self, connection: Any) -> str:
        with connection.cursor(buffered=True) as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            return str(cursor.fetchone()[0])

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 4
        if way == 0:
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s, REPEAT('x', %s)", (number, number % 3000))
                return cursor.fetchall(), [(number, "x" * (number % 3000))]
        if way == 1:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT seq + {number} FROM seq_1_to_5")
                return [value for (value,) in iter(cursor.fetchone, None)], [number + step for step in range(1, 6)]
        if way == 2:
            with connection.cursor(prepared=True) as cursor:
                cursor.execute("SELECT ? + 1", (number,))
                return cursor.fetchall(), [(number + 1,)]
        with connection.cursor(dictionary=True, buffered=True) as cursor:
            cursor.execute("SET @number = %s", (number,))
            connection.rollback()
            cursor.execute("SELECT @number AS asked")
            return cursor.fetchall(), [{"asked": number}]
