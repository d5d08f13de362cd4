"""The row of redis-py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from taskconn.drivers.redis import Redis
from tests.drivers.rows.row import Row


class RedisRow(Row):
    name = "redis"
    driver = Redis
    family = scheme = "redis"
    asks_while_reading = True
    tls: ClassVar[Mapping[str, str]] = {"ssl_ca_certs": "{authority}"}
    misspelt, meant = "protcol", "protocol"

    def url(self, request: Any) -> str:
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
