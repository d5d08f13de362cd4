"""redis-py: a task gets a client whose connections belong to the process. No transactions: nothing is settled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import redis.connection
from redis.exceptions import RedisError

from ... import _process
from ..._arguments import Reader, boolean, label, read
from ...driver import Driver, Session, Target
from ...errors import InvalidSettingsError
from ._client import Client
from ._connections import SafePool, SSLConnection, TCPConnection, Tls, UnixConnection

__all__ = ["Client", "Redis"]


def _verify_flags(text: str) -> Any:
    return redis.connection.parse_ssl_verify_flags(text)  # type: ignore[no-untyped-call]  # redis-py's


#: Arguments of redis-py's connections, by its names; None: an object. Those of TLS are added for ``rediss``.
_ARGUMENTS: dict[str, Reader | None] = {
    "client_name": str,
    "credential_provider": None,
    "db": int,
    "decode_responses": boolean,
    "encoding": str,
    "encoding_errors": str,
    "health_check_interval": float,
    "max_connections": int,
    "protocol": int,
    "retry": None,
    "retry_on_error": None,
    "retry_on_timeout": boolean,
    "socket_connect_timeout": float,
    "socket_read_size": int,
    "socket_timeout": float,
}
_TCP: dict[str, Reader | None] = {"socket_keepalive": boolean, "socket_keepalive_options": None}
_UNIX: dict[str, Reader | None] = {"path": str}
_TLS: dict[str, Reader | None] = {
    "ssl_ca_certs": str,
    "ssl_ca_data": str,
    "ssl_ca_path": str,
    "ssl_cert_reqs": str,
    "ssl_certfile": str,
    "ssl_check_hostname": boolean,
    "ssl_ciphers": str,
    "ssl_exclude_verify_flags": _verify_flags,
    "ssl_include_verify_flags": _verify_flags,
    "ssl_keyfile": str,
    "ssl_min_version": int,
    "ssl_ocsp_context": None,
    "ssl_ocsp_expected_cert": str,
    "ssl_password": str,
    "ssl_validate_ocsp": boolean,
    "ssl_validate_ocsp_stapled": boolean,
}

#: Scheme to connection class and the arguments that only it has.
_SCHEMES: dict[str, tuple[type[Any], dict[str, Reader | None]]] = {
    "redis": (TCPConnection, _TCP),
    "rediss": (SSLConnection, {**_TCP, **_TLS}),
    "unix": (UnixConnection, _UNIX),
}


class Redis(Driver[Client]):
    """
    Connect to Redis or Valkey with redis-py. What a task left half done (MULTI, WATCH, SUBSCRIBE, SELECT) is dropped.
    """

    package = "redis"
    transactional = False

    def __init__(self) -> None:
        self._tls = Tls()

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """redis-py's errors, and the operating system's."""
        return (RedisError, OSError)

    def validate(self, target: Target) -> None:
        """Refuse connect arguments that redis-py does not have."""
        self._arguments(target)

    def open(self, target: Target, timeout_s: float) -> Client:
        """Connect one connection and log in; more are connected as the client needs them."""
        session = Session(target.alias, _process.getpid())
        arguments = {"socket_connect_timeout": timeout_s, **self._arguments(target)}
        pool = SafePool(session, **arguments, **_without_push(), tls=self._tls)
        pool.open_one(timeout_s)
        client = Client(connection_pool=pool)
        session.sent = 0
        return client

    def session(self, connection: Client) -> Session:
        """Give what the client's pool tells of itself."""
        return connection.connection_pool.session

    def sockets(self, connection: Client) -> Iterable[int]:
        """List the sockets of all of the client's connections."""
        socks = [one._sock for one in connection.connection_pool.connections()]  # noqa: SLF001 -- redis-py has no name
        return [sock.fileno() for sock in socks if sock is not None]

    def is_alive(self, connection: Client, timeout_s: float) -> bool:
        """Ping."""
        try:
            connection.connection_pool.ping(timeout_s)
        except self.errors:
            return False
        return True

    def identity(self, connection: Client) -> str | None:
        """Give the id that the server told at login of the connection to be used next; None before RESP3."""
        return connection.connection_pool.told_identity()

    def ask_identity(self, connection: Client, timeout_s: float) -> str | None:
        """Ask for CLIENT ID; None where the account may not."""
        return connection.connection_pool.ask_identity(timeout_s)

    def is_settled(self, connection: Client) -> bool:
        """There is nothing to settle."""
        return True

    def restore(self, connection: Client) -> None:
        """Drop the connections that the task still holds or has changed, so that the next one finds them clean."""
        if connection.connection_pool.session.sent:
            connection.connection_pool.clean()

    def reset(self, connection: Client, timeout_s: float) -> None:
        """Drop all connections: RESET would change the protocol and forget the login."""
        self.invalidate(connection)

    def close(self, connection: Client, timeout_s: float) -> None:
        """Close. Redis has no goodbye."""
        self.invalidate(connection)

    def invalidate(self, connection: Client) -> None:
        """Shut the sockets."""
        for one in connection.connection_pool.connections():
            with contextlib.suppress(*self.errors):
                one.disconnect()

    def _arguments(self, target: Target) -> dict[str, Any]:
        connection_class, own = _SCHEMES[target.scheme]
        arguments = read(target, {**_ARGUMENTS, **own})
        if target.database is not None:
            try:
                arguments["db"] = int(target.database)
            except ValueError:
                problem = f"{target.database!r} is no database of Redis"
                raise InvalidSettingsError(target.alias, problem, "Write a number: redis://host/0.") from None
        parts = {"host": target.host, "port": target.port, "username": target.user, "password": target.password}
        arguments.update((name, value) for name, value in parts.items() if value)
        if target.options.label and "client_name" not in arguments:
            arguments["label"] = label(target.alias)
        return {"connection_class": connection_class, **arguments}


def _without_push() -> dict[str, Any]:
    """
    Switch maintenance notifications off, where the installed redis-py has them.

    Source:
        Experiment: with them redis-py takes a connection from its pool without looking for unread data.
    """
    try:
        from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 -- not in redis-py < 7
    except ImportError:
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}
