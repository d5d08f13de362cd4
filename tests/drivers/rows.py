"""One row per driver: how the contract suite and the fuzz use its connections. A new driver adds its row to `ROWS`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import pymysql.cursors
import pytest
from sqlalchemy import text

from taskconn._url import settle, split
from taskconn.driver import Driver, Target
from taskconn.drivers.mysqlconnector import MySQLConnector
from taskconn.drivers.psycopg import Psycopg
from taskconn.drivers.psycopg2 import Psycopg2
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
        family: What it connects to, one of `tests/matrix/families.py`.
        scheme: Of the URLs that choose it.
        stays: What a task leaves behind stays for the next one unless `reset=True` is asked for, and why.
        asks_while_reading: Can the library ask something while rows of another answer are unread?
        is_bare: Does a task get the library's own object, which taskconn does not guard?
        unread: Rows of the reply that `half_read` leaves.
        not_swept: Passages of `sweep.py` that it does not have.
        plain, tls: Connect arguments without TLS, and with it; ``{authority}`` is the file to trust.
        package: What it needs of PyPI, besides SQLAlchemy; "" is what the driver names.
        options: Options that belong to the URL.
        errors: What a statement raises when the connection is lost; () is what the driver says.
    """

    name: ClassVar[str]
    driver: ClassVar[type[Driver[Any]]]
    misspelt: ClassVar[str]
    meant: ClassVar[str]
    has_server = True
    family: ClassVar[str]
    scheme: ClassVar[str]
    asks_while_reading = False
    is_bare = False
    unread = 20000
    not_swept: ClassVar[frozenset[str]] = frozenset()
    stays: ClassVar[Mapping[str, str]] = {}
    plain: ClassVar[Mapping[str, str]] = {}
    tls: ClassVar[Mapping[str, str]] = {}
    package = ""
    options: ClassVar[Mapping[str, Any]] = {}
    errors: tuple[type[BaseException], ...] = ()

    def url(self, request: pytest.FixtureRequest) -> str:
        """Give the URL of an empty place of the test's own."""
        raise NotImplementedError

    def prepare(self, connection: Any) -> None:
        """Make room for what is written."""

    def write(self, connection: Any, value: str) -> None:
        """Write *value*, with one statement."""
        raise NotImplementedError

    def write_many(self, connection: Any, values: list[str]) -> None:
        """Write *values* by one call."""
        raise NotImplementedError

    def values(self, connection: Any) -> list[str]:
        """Read what was written, in order, with one statement."""
        raise NotImplementedError

    def run(self, connection: Any, statement: str) -> list[Any]:
        """Run one statement of SQL, and give its rows as tuples."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def client(self, connection: Any) -> Any:
        """Give the client library's own connection."""
        return connection

    def half_read(self, connection: Any) -> Any:
        """Give what holds a half-read reply, or stands for it."""
        raise NotImplementedError

    def rest(self, reader: Any) -> list[Any] | None:
        """Give the rest of a half-read reply; None where what stands for it has none."""
        return None

    def session_id(self, connection: Any) -> str:
        """Ask the server which session this is."""
        raise NotImplementedError

    def session_ids(self, connection: Any) -> set[str]:
        """Give the ids of sessions that the pool does not know, as they were told at login: nothing is sent."""
        return set()

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        """Ask something whose answer only *number* gives, each time in another way; return it, and the right one."""
        raise NotImplementedError


class PyMySQLRow(Row):
    name = "pymysql"
    driver = PyMySQL
    family, scheme = "mysql", "mysql+pymysql"
    plain: ClassVar[Mapping[str, str]] = {"ssl_disabled": "true"}
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}", "ssl_verify_cert": "true"}
    misspelt, meant = "charsett", "charset"

    def url(self, request: pytest.FixtureRequest) -> str:
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


class _PostgreSQLRow(Row):
    misspelt, meant = "sslmod", "sslmode"
    family = "postgresql"
    plain: ClassVar[Mapping[str, str]] = {"sslmode": "disable"}
    tls: ClassVar[Mapping[str, str]] = {"sslmode": "verify-full", "sslrootcert": "{authority}"}

    def prepare(self, connection: Any) -> None:
        self.write_sql(connection, "CREATE TABLE IF NOT EXISTS car (name TEXT)")
        connection.commit()

    def write_sql(self, connection: Any, sql: str, *arguments: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute(sql, arguments or None)
        return cursor

    def write(self, connection: Any, value: str) -> None:
        self.write_sql(connection, "INSERT INTO car VALUES (%s)", value)

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.cursor().executemany("INSERT INTO car VALUES (%s)", [(value,) for value in values])

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in self.write_sql(connection, "SELECT name FROM car ORDER BY name").fetchall()]

    def session_id(self, connection: Any) -> str:
        return str(self.write_sql(connection, "SELECT pg_backend_pid()").fetchone()[0])

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        way = number % 3
        if way == 0:
            rows = self.write_sql(connection, "SELECT %s::int, repeat('x', %s::int)", number, number % 3000).fetchall()
            return rows, [(number, "x" * (number % 3000))]
        if way == 1:
            with connection.cursor(f"c{number}") as cursor:
                cursor.execute("SELECT g + %s FROM generate_series(1, 5) g", (number,))
                return [value for (value,) in cursor.fetchmany(5)], [number + step for step in range(1, 6)]
        self.write_sql(connection, f"SET taskconn.number = {number}")
        connection.commit()
        return self.write_sql(connection, "SHOW taskconn.number").fetchall(), [(str(number),)]


class PsycopgRow(_PostgreSQLRow):
    name = "psycopg"
    driver = Psycopg
    scheme = "postgresql+psycopg"

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("postgresql_database").url
        return url

    def half_read(self, connection: Any) -> Any:
        rows = connection.cursor().stream(f"SELECT generate_series(1, {self.unread})")
        assert next(rows) == (1,)
        return rows

    def rest(self, reader: Any) -> list[Any]:
        return [value for (value,) in reader]


class Psycopg2Row(_PostgreSQLRow):
    name = "psycopg2"
    driver = Psycopg2
    scheme = "postgresql+psycopg2"
    asks_while_reading = True

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("postgresql_database").url
        return url.replace("postgresql://", "postgresql+psycopg2://")

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor("half")
        cursor.execute(f"SELECT generate_series(1, {self.unread})")
        assert cursor.fetchone() == (1,)
        return cursor


class MySQLConnectorRow(PyMySQLRow):
    name = "mysqlconnector"
    driver = MySQLConnector
    scheme = "mysql+mysqlconnector"

    def half_read(self, connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute(f"SELECT seq FROM seq_1_to_{self.unread}")
        assert cursor.fetchone() == (1,)
        return cursor

    def rest(self, reader: Any) -> list[Any]:
        return [value for (value,) in reader.fetchall()]

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


class SQLiteRow(Row):
    name = "sqlite"
    driver = SQLite
    family = scheme = "sqlite"
    asks_while_reading = True
    misspelt, meant = "time_out", "timeout"
    has_server = False
    plain: ClassVar[Mapping[str, str]] = {"journal_mode": "DELETE", "timeout": "1"}

    def url(self, request: pytest.FixtureRequest) -> str:
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/cars.db?journal_mode=DELETE&timeout=1"

    def prepare(self, connection: Any) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS car (name TEXT)")

    def write(self, connection: Any, value: str) -> None:
        connection.execute("INSERT INTO car VALUES (?)", (value,))

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.executemany("INSERT INTO car VALUES (?)", [(value,) for value in values])

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
    family = scheme = "redis"
    asks_while_reading = True
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca_certs": "{authority}"}
    misspelt, meant = "protcol", "protocol"

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("redis_db").url
        return (
            f"{url}?protocol=3"  # the handshake of RESP2 does not tell the session's id; older redis-py begins with it
        )

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

    def session_ids(self, connection: Any) -> set[str]:
        made = connection.connection_pool.connections()
        return {str(one.handshake_metadata[b"id"]) for one in made if one._sock is not None}

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
    family, scheme = "mysql", "sqlalchemy+mysql+pymysql"
    stays: ClassVar[Mapping[str, str]] = {
        "SET autocommit": "SQLAlchemy does not see what a statement switches; with `isolation_level` it is put back"
    }
    plain: ClassVar[Mapping[str, str]] = PyMySQLRow.plain
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca": "{authority}"}

    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue("mysql_database").url
        return url.replace("mysql://", "sqlalchemy+mysql+pymysql://")

    def prepare(self, connection: Any) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS car (name VARCHAR(50)) ENGINE=InnoDB"))

    def write(self, connection: Any, value: str) -> None:
        connection.execute(text("INSERT INTO car VALUES (:name)"), {"name": value})

    def write_many(self, connection: Any, values: list[str]) -> None:
        connection.execute(text("INSERT INTO car VALUES (:name)"), [{"name": value} for value in values])

    def values(self, connection: Any) -> list[str]:
        return [name for (name,) in connection.execute(text("SELECT name FROM car ORDER BY name"))]

    def run(self, connection: Any, statement: str) -> list[Any]:
        found = connection.execute(text(statement))
        return [tuple(row) for row in found] if found.returns_rows else []

    def rest(self, reader: Any) -> list[Any] | None:
        return [value for (value,) in reader.fetchall()]

    def half_read(self, connection: Any) -> Any:
        rows = connection.execute(
            text(f"SELECT seq FROM seq_1_to_{self.unread}"),
            execution_options={"stream_results": True, "max_row_buffer": 1},
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


def _mysqldb() -> list[Row]:
    """Give mysqlclient's row where it could be built; everywhere else its tests are skipped, for a reason."""
    try:
        from tests.drivers.mysqldb_row import MySQLdbRow
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
