"""One row per driver: how the contract suite and the fuzz use its connections. A new driver adds its row to `ROWS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pymysql.cursors
import pytest
from sqlalchemy import text

from taskconn._url import settle, split
from taskconn.driver import Driver, Target
from taskconn.drivers.pymysql import PyMySQL
from taskconn.drivers.redis import Redis
from taskconn.drivers.sqlalchemy import SQLAlchemy
from taskconn.drivers.sqlite import SQLite


def target_of(url: str, **changes: Any) -> Target:
    """Read *url* as an alias's settings would; *changes* are attributes of the target."""
    place = settle("default", split("default", url))
    parts = {"host": place.host, "port": place.port, "user": place.user, "database": place.database}
    password = place.password.value if place.password else None
    return Target(
        **{"alias": "default", "scheme": place.scheme, **parts, "password": password, "query": place.query} | changes
    )


class Row:
    """
    What the suite has to know of a driver.

    Attributes:
        name: Name of the row.
        driver: The driver's class.
        misspelt, meant: An argument with a slip of the pen, and without.
        has_server: Is there a server, which can be absent, frozen, or count bytes?
    """

    name: ClassVar[str]
    driver: ClassVar[type[Driver[Any]]]
    misspelt: ClassVar[str]
    meant: ClassVar[str]
    has_server = True

    def url(self, request: pytest.FixtureRequest) -> str:
        """Give the URL of an empty place of the test's own."""
        raise NotImplementedError

    def prepare(self, connection: Any) -> None:
        """Make room for what is written."""

    def write(self, connection: Any, value: str) -> None:
        """Write *value*, with one statement."""
        raise NotImplementedError

    def values(self, connection: Any) -> list[str]:
        """Read what was written, in order, with one statement."""
        raise NotImplementedError

    def half_read(self, connection: Any) -> Any:
        """Give what holds a half-read reply, or stands for it."""
        raise NotImplementedError

    def session_id(self, connection: Any) -> str:
        """Ask the server which session this is."""
        raise NotImplementedError

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        """Ask something whose answer only *number* gives, each time in another way; return it, and the right one."""
        raise NotImplementedError


class PyMySQLRow(Row):
    name = "pymysql"
    driver = PyMySQL
    misspelt, meant = "charsett", "charset"

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("mysql_database").url
        return url

    def prepare(self, connection: Any) -> None:
        connection.cursor().execute("CREATE TABLE IF NOT EXISTS car (name VARCHAR(50)) ENGINE=InnoDB")

    def write(self, connection: Any, value: str) -> None:
        connection.cursor().execute("INSERT INTO car VALUES (%s)", (value,))

    def values(self, connection: Any) -> list[str]:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM car ORDER BY name")
        return [name for (name,) in cursor.fetchall()]

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor(pymysql.cursors.SSCursor)
        cursor.execute("SELECT seq FROM seq_1_to_20000")
        assert cursor.fetchone() == (1,)
        return cursor

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


class SQLiteRow(Row):
    name = "sqlite"
    driver = SQLite
    misspelt, meant = "time_out", "timeout"
    has_server = False

    def url(self, request: pytest.FixtureRequest) -> str:
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/cars.db?journal_mode=DELETE&timeout=1"

    def prepare(self, connection: Any) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS car (name TEXT)")

    def write(self, connection: Any, value: str) -> None:
        connection.execute("INSERT INTO car VALUES (?)", (value,))

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in connection.execute("SELECT name FROM car ORDER BY name")]

    def half_read(self, connection: Any) -> Any:
        cursor = connection.execute("SELECT 1 UNION ALL SELECT 2")
        assert cursor.fetchone() == (1,)
        return cursor

    def session_id(self, connection: Any) -> str:
        return "none"

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        return connection.execute("SELECT ?", (number,)).fetchall(), [(number,)]


class RedisRow(Row):
    name = "redis"
    driver = Redis
    misspelt, meant = "protcol", "protocol"

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("redis_db").url
        return url

    def write(self, connection: Any, value: str) -> None:
        connection.zadd("car", {value: 0})

    def values(self, connection: Any) -> list[str]:
        return [name.decode() for name in connection.zrange("car", 0, -1)]

    def half_read(self, connection: Any) -> Any:
        pubsub = connection.pubsub()
        pubsub.subscribe("news")
        return pubsub

    def session_id(self, connection: Any) -> str:
        return str(connection.client_id())

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            text = str(number) * (number % 2000)
            return connection.echo(text), text.encode()
        if way == 1:
            with connection.pipeline(transaction=number % 2 == 0) as pipe:
                return pipe.set("a", number).get("a").echo(f"b{number}").execute(), [
                    True,
                    str(number).encode(),
                    f"b{number}".encode(),
                ]
        with connection.pipeline() as pipe:
            pipe.watch("watched")
            answers = [pipe.echo(f"c{number}"), pipe.echo(f"d{number}")]
            pipe.multi()
            pipe.echo(f"e{number}")
            return [*answers, *pipe.execute()], [f"{letter}{number}".encode() for letter in "cde"]


class SQLAlchemyRow(Row):
    name = "sqlalchemy"
    driver = SQLAlchemy
    misspelt, meant = "charsett", "charset"

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("mysql_database").url
        return url.replace("mysql://", "sqlalchemy+mysql+pymysql://")

    def prepare(self, connection: Any) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS car (name VARCHAR(50)) ENGINE=InnoDB"))

    def write(self, connection: Any, value: str) -> None:
        connection.execute(text("INSERT INTO car VALUES (:name)"), {"name": value})

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in connection.execute(text("SELECT name FROM car ORDER BY name"))]

    def half_read(self, connection: Any) -> Any:
        rows = connection.execute(
            text("SELECT seq FROM seq_1_to_20000"), execution_options={"stream_results": True, "max_row_buffer": 1}
        )
        assert rows.fetchone() == (1,)
        return rows

    def session_id(self, connection: Any) -> str:
        return str(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            rows = connection.execute(
                text("SELECT :number, REPEAT('x', :size)"), {"number": number, "size": number % 3000}
            )
            return rows.fetchall(), [(number, "x" * (number % 3000))]
        if way == 1:
            options = {"stream_results": True, "max_row_buffer": 1}
            rows = connection.execute(text(f"SELECT seq + {number} FROM seq_1_to_5"), execution_options=options)
            return [value for (value,) in rows], [number + step for step in range(1, 6)]
        connection.execute(text("SET @number = :number"), {"number": number})
        connection.rollback()
        return connection.execute(text("SELECT @number")).fetchall(), [(number,)]


#: Name to row.
ROWS: Mapping[str, Row] = {row.name: row for row in (PyMySQLRow(), SQLiteRow(), RedisRow(), SQLAlchemyRow())}
