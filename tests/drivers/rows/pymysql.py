"""The row of PyMySQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pymysql.cursors

from taskconn.drivers.pymysql import PyMySQL
from tests.drivers.rows.row import Row


class PyMySQLRow(Row):
    name = "pymysql"
    driver = PyMySQL
    family, scheme = "mysql", "mysql+pymysql"
    plain: ClassVar[Mapping[str, str]] = {"ssl_disabled": "true"}
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}", "ssl_verify_cert": "true"}
    misspelt, meant = "charsett", "charset"

    def url(self, request: Any) -> str:
        url: str = request.getfixturevalue("mysql_database").url
        return url

    def prepare(self, connection: Any) -> None:
        connection.cursor().execute("CREATE TABLE IF NOT EXISTS car (name VARCHAR(50)) ENGINE=InnoDB")

    def write(self, connection: Any, value: str) -> None:
        connection.cursor().execute("INSERT INTO car VALUES (%s)", (value,))

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.cursor().executemany("INSERT INTO car VALUES (%s)", [(value,) for value in values])

    def values(self, connection: Any) -> list[str]:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM car ORDER BY name")
        return [name for (name,) in cursor.fetchall()]

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor(pymysql.cursors.SSCursor)
        cursor.execute(f"SELECT seq FROM seq_1_to_{self.unread}")
        assert cursor.fetchone() == (1,)
        return cursor

    def rest(self, reader: Any) -> list[Any]:
        return [value for (value,) in reader.fetchall()]

    def session_id(self, connection: Any) -> str:
        cursor = connection.cursor()
        cursor.execute("SELECT CONNECTION_ID()")
        return str(cursor.fetchone()[0])

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s, REPEAT('x', %s)", (number, number % 3000))
                return cursor.fetchall(), ((number, "x" * (number % 3000)),)
        if way == 1:
            with connection.cursor(pymysql.cursors.SSCursor) as cursor:
                cursor.execute(f"SELECT seq + {number} FROM seq_1_to_5")
                return [value for (value,) in cursor.fetchall()], [number + step for step in range(1, 6)]
        with connection.cursor() as cursor:
            cursor.execute("SET @number = %s", (number,))
            connection.rollback()
            cursor.execute("SELECT @number")
            return cursor.fetchall(), ((number,),)
