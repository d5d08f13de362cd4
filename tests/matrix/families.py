"""What a driver connects to: how it is reached, what a task may leave behind there, how a session is ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import redis

from examples.servers import MariaDB, PostgreSQL, Redis
from tests.drivers.rows import Row
from tests.matrix.relay import Relay

#: The database that the matrix writes to.
DATABASE = "matrix"

TRANSPORTS = ("TCP", "Unix socket", "TLS")


@dataclass(frozen=True)
class Leftover:
    """
    What a task may leave behind.

    Attributes:
        leave: Leaves it.
        is_there: Tells whether the next task would see it.
        always_goes: It is gone without ``reset=True`` too.
    """

    leave: Callable[[Row, Any], object]
    is_there: Callable[[Row, Any], bool]
    always_goes: bool = False


def _sql(statement: str) -> Callable[[Row, Any], Any]:
    return lambda row, db: row.run(db, statement)


def _finds(statement: str, *unwanted: Any) -> Callable[[Row, Any], bool]:
    """Ask for one value, and tell whether it is one of *unwanted*; for any row at all, if none is named."""

    def look(row: Row, db: Any) -> bool:
        rows = row.run(db, statement)
        return rows[0][0] in unwanted if unwanted else bool(rows)

    return look


def _works(statement: str) -> Callable[[Row, Any], bool]:
    """Tell whether *statement* works, so that what it needs is there."""

    def look(row: Row, db: Any) -> bool:
        try:
            row.run(db, statement)
        except Exception:  # noqa: BLE001 - whatever the library raises
            return False
        return True

    return look


class Family:
    """
    One kind of server.

    Attributes:
        impossible: What can't be had with it, and why.
        leftovers: What a task may leave behind, by name.
        missing: A database in an URL, and one that is not there.
    """

    name: ClassVar[str]
    impossible: ClassVar[Mapping[str, str]] = {}
    leftovers: ClassVar[Mapping[str, Leftover]]
    missing: ClassVar[tuple[str, str]] = (DATABASE, "missing")
    server: Any

    def start(self) -> None:
        """Start the server, with TLS."""
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()

    def version(self) -> str:
        """Say which server it is."""
        raise NotImplementedError

    def relay(self, transport: str, folder: Path) -> Relay:
        """Put a relay in front of the server."""
        if transport == "Unix socket":
            return Relay(self.server.socket_path, self.socket_path(folder))
        return Relay((self.server.host, self.server.port))

    def socket_path(self, folder: Path) -> Path:
        """Name the relay's Unix socket."""
        return folder / "relay.sock"

    def url(self, row: Row, transport: str, relay: Relay, folder: Path, **query: str) -> str:
        """Give the URL of the database behind *relay*."""
        arguments = {**(row.tls if transport == "TLS" else row.plain), **query}
        if transport == "Unix socket":
            arguments = {**query, **self.unix_arguments(folder)}
        filled = {name: value.format(authority=self.server.authority_path) for name, value in arguments.items()}
        place = self.place("" if transport == "Unix socket" else f"{relay.host}:{relay.port}")
        return f"{row.scheme}://{place}{'?' if filled else ''}{urlencode(filled, quote_via=quote)}"

    def place(self, address: str) -> str:
        """Give the URL between the scheme and the query."""
        return f"{self.server.user}:{self.server.password}@{address or 'localhost'}/{DATABASE}"

    def unix_arguments(self, folder: Path) -> dict[str, str]:
        """Give the arguments that name the relay's Unix socket."""
        return {"unix_socket": str(self.socket_path(folder))}

    def with_password(self, url: str) -> str:
        """Have *url* say a password, and the server ask for it."""
        return url

    # -- one transaction, one long query, one session --------------------------------------------------------

    def begin(self, row: Row, db: Any, value: str, outside: Any) -> Any:
        """Begin what a child could destroy; *outside* is the family where the server is."""
        row.write(db, value)

    def is_intact(self, row: Row, db: Any, begun: Any, value: str) -> bool:
        """Tell, before it is committed, whether it is still there."""
        return value in row.values(db)

    def is_committed(self, value: str) -> bool:
        """Tell whether others see it."""
        raise NotImplementedError

    def hold(self) -> None:
        """Make `block` wait."""
        raise NotImplementedError

    def release(self) -> None:
        """Let it go on."""
        raise NotImplementedError

    def block(self, row: Row, db: Any) -> bool:
        """Ask what is answered when `release` is called; tell whether the answer is right."""
        raise NotImplementedError

    def is_blocked(self) -> bool:
        """Tell whether somebody waits in `block`."""
        raise NotImplementedError

    def has_session(self, session_id: str) -> bool:
        """Tell whether the server still has the session."""
        raise NotImplementedError

    def kill(self, session_id: str) -> None:
        """End a session by the server's command."""
        raise NotImplementedError

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        """Have the server end the session when it has been idle for a second or two."""
        raise NotImplementedError


def _snapshot(row: Row, db: Any) -> None:
    row.values(db)


class MySQL(Family):
    name = "mysql"
    leftovers: ClassVar = {
        "an open transaction": Leftover(
            _sql("INSERT INTO leftover VALUES ('left')"), _finds("SELECT @@in_transaction", 1), always_goes=True
        ),
        "a snapshot by SELECT alone": Leftover(
            _sql("SELECT * FROM leftover"), _finds("SELECT @@in_transaction", 1), always_goes=True
        ),
        "a session variable": Leftover(
            _sql("SET SESSION sql_mode = 'ANSI', @left = 1"), _finds("SELECT @@sql_mode = 'ANSI' OR @left = 1", 1)
        ),
        "a temporary table": Leftover(_sql("CREATE TEMPORARY TABLE temp (n INT)"), _works("SELECT * FROM temp")),
        "a user lock": Leftover(
            _sql("SELECT GET_LOCK('left', 60)"), _finds("SELECT IS_USED_LOCK('left') = CONNECTION_ID()", 1)
        ),
        "a prepared statement": Leftover(_sql("PREPARE left1 FROM 'SELECT 1'"), _works("EXECUTE left1")),
        "another database": Leftover(_sql("USE other"), _finds("SELECT DATABASE()", "other")),
        "SET autocommit": Leftover(_sql("SET autocommit = 1"), _finds("SELECT @@autocommit", 1), always_goes=True),
        "a half-read reply": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 1)[0] != row.ask(db, 1)[1], always_goes=True
        ),
    }
    impossible: ClassVar = {
        "LISTEN": "MySQL has no LISTEN",
        "query, drops an open cursor": "the library runs no query while rows of another one are unread",
    }

    def __init__(self) -> None:
        self.server = MariaDB(tls=True)
        self._gate: Any = None

    def start(self) -> None:
        super().start()
        self.server.query(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
        self.server.query("CREATE DATABASE other")
        self.server.query("CREATE TABLE car (name VARCHAR(200)) ENGINE=InnoDB", database=DATABASE)
        self.server.query("CREATE TABLE leftover (name VARCHAR(50)) ENGINE=InnoDB", database=DATABASE)

    def version(self) -> str:
        return f"MariaDB {self.server.query('SELECT VERSION()')[0][0].partition('-')[0]}"

    def is_committed(self, value: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM car WHERE name = %s", (value,), database=DATABASE))

    def hold(self) -> None:
        self._gate = self.server.connect(autocommit=True)
        with self._gate.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK('gate', 60)")
            assert cursor.fetchone() == (1,)

    def release(self) -> None:
        self._gate.close()

    def block(self, row: Row, db: Any) -> bool:
        answer = row.run(db, "SELECT GET_LOCK('gate', 60) + 4")
        row.run(db, "DO RELEASE_LOCK('gate')")
        return answer == [(5,)]

    def is_blocked(self) -> bool:
        return bool(self.server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'User lock'"))

    def has_session(self, session_id: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s", (session_id,)))

    def kill(self, session_id: str) -> None:
        self.server.kill_session(int(session_id))

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        row.run(db, "SET SESSION wait_timeout = 2")
        return nullcontext()


class PostgreSQLFamily(Family):
    name = "postgresql"
    leftovers: ClassVar = {
        "an open transaction": Leftover(
            _sql("INSERT INTO leftover VALUES ('left')"),
            _finds("SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowExclusiveLock'"),
            always_goes=True,
        ),
        "a snapshot by SELECT alone": Leftover(
            lambda row, db: (
                row.run(db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") or row.run(db, "SELECT * FROM leftover")
            ),
            _finds("SHOW transaction_isolation", "repeatable read"),
            always_goes=True,
        ),
        "a session variable": Leftover(_sql("SET work_mem = '77kB'"), _finds("SHOW work_mem", "77kB")),
        "a temporary table": Leftover(
            _sql("CREATE TEMPORARY TABLE temp (n INT)"), _finds("SELECT to_regclass('pg_temp.temp') IS NOT NULL", True)
        ),
        "a user lock": Leftover(
            _sql("SELECT pg_advisory_lock(77)"),
            _finds("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
        ),
        "a prepared statement": Leftover(
            _sql("PREPARE left1 AS SELECT 1"), _finds("SELECT 1 FROM pg_prepared_statements WHERE name = 'left1'")
        ),
        "another search_path": Leftover(_sql("SET search_path = 'other'"), _finds("SHOW search_path", "other")),
        "SET autocommit": Leftover(
            lambda row, db: setattr(row.client(db), "autocommit", True),
            lambda row, db: bool(row.client(db).autocommit),
            always_goes=True,
        ),
        "LISTEN": Leftover(
            lambda row, db: row.run(db, "LISTEN news") or db.commit(), _finds("SELECT pg_listening_channels()")
        ),
        "a half-read reply": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 1)[0] != row.ask(db, 1)[1], always_goes=True
        ),
    }
    impossible: ClassVar = {"another database": "a session of PostgreSQL can't change its database"}

    def __init__(self) -> None:
        self.server = PostgreSQL(tls=True)
        self._gate: Any = None

    def start(self) -> None:
        super().start()
        self.server.query(f"CREATE DATABASE {DATABASE}")
        self.server.query("CREATE TABLE car (name TEXT)", database=DATABASE)
        self.server.query("CREATE TABLE leftover (name TEXT)", database=DATABASE)
        self.server.query("CREATE SCHEMA other", database=DATABASE)

    def version(self) -> str:
        return f"PostgreSQL {self.server.query('SHOW server_version')[0][0].partition(' ')[0]}"

    def socket_path(self, folder: Path) -> Path:
        return folder / f".s.PGSQL.{self.server.port}"

    def place(self, address: str) -> str:
        return f"{self.server.user}:{self.server.password}@{address or f':{self.server.port}'}/{DATABASE}"

    def unix_arguments(self, folder: Path) -> dict[str, str]:
        return {"host": str(folder)}

    def is_committed(self, value: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM car WHERE name = %s", (value,), database=DATABASE))

    def hold(self) -> None:
        self._gate = self.server.connect(DATABASE, autocommit=True)
        self._gate.execute("SELECT pg_advisory_lock(7)")

    def release(self) -> None:
        self._gate.close()

    def block(self, row: Row, db: Any) -> bool:
        return row.run(db, "SELECT 5 FROM (SELECT pg_advisory_xact_lock(7)) AS gate") == [(5,)]

    def is_blocked(self) -> bool:
        return bool(self.server.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    def has_session(self, session_id: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (int(session_id),)))

    def kill(self, session_id: str) -> None:
        self.server.kill_session(int(session_id))

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        row.run(db, "SET idle_session_timeout = 1000")
        return nullcontext()


def _redis_finds(key: str, *unwanted: str) -> Callable[[Row, Any], bool]:
    def look(_: Row, db: Any) -> bool:
        return str(db.client_info()[key]) in unwanted

    return look


def _watches(db: Any, key: str) -> bool:
    """Tell whether a change of *key* makes EXEC fail, whoever made it."""
    db.incr(key)
    db.execute_command("MULTI")
    db.execute_command("ECHO", "x")
    return db.execute_command("EXEC") is None


class RedisFamily(Family):
    name = "redis"
    missing = ("1", "99")
    leftovers: ClassVar = {
        "MULTI": Leftover(
            lambda _, db: db.execute_command("MULTI"), lambda _, db: db.echo("x") != b"x", always_goes=True
        ),
        "WATCH": Leftover(
            lambda _, db: db.execute_command("WATCH", "k"), lambda _, db: _watches(db, "k"), always_goes=True
        ),
        "SELECT db": Leftover(lambda _, db: db.select(9), _redis_finds("db", "9"), always_goes=True),
        "SUBSCRIBE": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 0)[0] != row.ask(db, 0)[1], always_goes=True
        ),
        "CLIENT SETNAME": Leftover(lambda _, db: db.client_setname("left"), _redis_finds("name", "left")),
    }
    impossible: ClassVar = {
        "rollback()": "Redis has no rollback",
        **dict.fromkeys(
            (
                "an open transaction",
                "a snapshot by SELECT alone",
                "a session variable",
                "a temporary table",
                "a user lock",
                "a prepared statement",
                "SET autocommit",
            ),
            "Redis has none",
        ),
        "a half-read reply": "redis-py reads replies whole; a subscription stands for it",
    }

    def __init__(self) -> None:
        self.server = Redis(tls=True)

    def version(self) -> str:
        with self.server.connect() as client:
            return f"Redis {client.info('server')['redis_version']}"

    def relay(self, transport: str, folder: Path) -> Relay:
        if transport == "TLS":
            return Relay((self.server.host, self.server.tls_port))
        return super().relay(transport, folder)

    def url(self, row: Row, transport: str, relay: Relay, folder: Path, **query: str) -> str:
        if transport == "Unix socket":
            return f"unix://{self.socket_path(folder)}?{urlencode({'db': '1', **query})}"
        scheme = row.scheme if transport == "TCP" else "rediss"
        return super().url(row, transport, relay, folder, **query).replace(f"{row.scheme}://", f"{scheme}://", 1)

    def place(self, address: str) -> str:
        return f"{address}/1"

    def with_password(self, url: str) -> str:
        self.server.query("ACL", "SETUSER", "matrix", "on", ">s3cret", "~*", "&*", "+@all")
        return url.replace("://", "://matrix:s3cret@", 1)

    def touch(self) -> None:
        """Change the key that `begin` watches."""
        self.server.query("INCR", "watched", db=1)

    def begin(self, row: Row, db: Any, value: str, outside: Any) -> Any:
        """Watch a key that somebody else changes then: EXEC has to fail."""
        pipe = db.pipeline()
        pipe.watch("watched")
        outside.touch()
        return pipe

    def is_intact(self, row: Row, db: Any, begun: Any, value: str) -> bool:
        begun.multi()
        begun.set("written", value)
        try:
            begun.execute()
        except redis.WatchError:
            row.write(db, value)
            return True
        return False

    def is_committed(self, value: str) -> bool:
        return self.server.query("ZSCORE", "car", value, db=1) is not None

    def hold(self) -> None:
        self.server.query("DEL", "gate", db=1)

    def release(self) -> None:
        self.server.query("LPUSH", "gate", "open", db=1)

    def block(self, row: Row, db: Any) -> bool:
        return tuple(db.blpop("gate", timeout=60)) == (b"gate", b"open")

    def is_blocked(self) -> bool:
        return any("b" in found["flags"] for found in self.server.sessions())

    def has_session(self, session_id: str) -> bool:
        return any(found["id"] == session_id for found in self.server.sessions())

    def kill(self, session_id: str) -> None:
        self.server.query("CLIENT", "KILL", "ID", session_id)

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        return _RedisTimeout(self.server)


class _RedisTimeout:
    """Let Redis end idle sessions, for a while."""

    def __init__(self, server: Redis) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.query("CONFIG", "SET", "timeout", 1)

    def __exit__(self, *_: object) -> None:
        self._server.query("CONFIG", "SET", "timeout", 0)


class SQLiteFamily(Family):
    name = "sqlite"
    leftovers: ClassVar = {
        "an open transaction": Leftover(
            _sql("INSERT INTO car VALUES ('left')"), lambda row, db: row.client(db).in_transaction, always_goes=True
        ),
        "a half-read reply": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 1)[0] != row.ask(db, 1)[1], always_goes=True
        ),
        "SET autocommit": Leftover(
            lambda row, db: setattr(row.client(db), "isolation_level", None),
            lambda row, db: row.client(db).isolation_level is None,
            always_goes=True,
        ),
        "a session variable": Leftover(_sql("PRAGMA cache_size = 77"), _finds("PRAGMA cache_size", 77)),
        "a temporary table": Leftover(
            _sql("CREATE TEMPORARY TABLE temp (n INT)"), _works("SELECT * FROM temp.temp LIMIT 1")
        ),
        "another database": Leftover(
            lambda row, db: row.client(db).execute("ATTACH ':memory:' AS other"),
            _works("SELECT * FROM other.sqlite_master"),
        ),
    }
    impossible: ClassVar = {
        **dict.fromkeys(TRANSPORTS[1:], "SQLite is a file, not a server: there is one way to it"),
        "orphan": "SQLite has no session",
        "liveness": "SQLite has no server that could go",
        "same session": "SQLite has no session",
        "no descriptor": "closing SQLite's descriptor drops the parent's locks; the object is kept instead",
        "a snapshot by SELECT alone": "a read that was read to its end leaves none",
        **dict.fromkeys(("a user lock", "a prepared statement", "LISTEN"), "SQLite has none"),
    }

    def __init__(self) -> None:
        self._go, self._waits = threading.Event(), threading.Event()
        self.path = Path()

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """Nor to stop."""

    def version(self) -> str:
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"

    def relay(self, transport: str, folder: Path) -> Any:
        return nullcontext()

    def url(self, row: Row, transport: str, relay: Any, folder: Path, **query: str) -> str:
        return f"{row.scheme}:///{folder}/cars.db?{urlencode({**row.plain, **query})}"

    def is_committed(self, value: str) -> bool:
        return True  # `is_intact` of the next state reads it

    def hold(self) -> None:
        self._go.clear()
        self._waits.clear()

    def is_blocked(self) -> bool:
        return self._waits.is_set()

    def _wait(self) -> int:
        self._waits.set()
        return 5 if self._go.wait(60) else 0

    def release(self) -> None:
        self._go.set()

    def begin(self, row: Row, db: Any, value: str, outside: Any) -> Any:
        row.client(db).create_function("wait", 0, self._wait)
        row.write(db, value)

    def block(self, row: Row, db: Any) -> bool:
        return row.run(db, "SELECT wait()") == [(5,)]


#: Name to family.
FAMILIES: Mapping[str, type[Family]] = {
    family.name: family for family in (MySQL, PostgreSQLFamily, RedisFamily, SQLiteFamily)
}
