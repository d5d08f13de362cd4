"""Redis."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import redis

from tests.drivers.rows import Row
from tests.matrix.families.family import Family, Leftover
from tests.matrix.relay import Relay


def _finds(key: str, *unwanted: str) -> Callable[[Row, Any], bool]:
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
        "SELECT db": Leftover(lambda _, db: db.select(9), _finds("db", "9"), always_goes=True),
        "SUBSCRIBE": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 0)[0] != row.ask(db, 0)[1], always_goes=True
        ),
        "CLIENT SETNAME": Leftover(lambda _, db: db.client_setname("left"), _finds("name", "left")),
    }
    impossible: ClassVar = {
        "rollback()": "Redis has no rollback",
        "another database": "`SELECT db` is what it has instead",
        **dict.fromkeys(
            (
                "an open transaction",
                "a snapshot by SELECT alone",
                "a session variable",
                "a temporary table",
                "a user lock",
                "a prepared statement",
                "SET autocommit",
                "LISTEN",
                "another search_path",
            ),
            "Redis has none",
        ),
        "a half-read reply": "redis-py reads replies whole; a subscription stands for it",
    }

    def make_server(self) -> Any:
        from examples.servers import Redis

        return Redis(tls=True)

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

    def __init__(self, server: Any) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.query("CONFIG", "SET", "timeout", 1)

    def __exit__(self, *_: object) -> None:
        self._server.query("CONFIG", "SET", "timeout", 0)
