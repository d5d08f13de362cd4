"""Where one open connects to, as its driver gets it: `Target`, which drivers import from `driver.py`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .options import Options

__all__ = ["Target"]

#: What the name of a setting ends in whose value is secret, in lower case; a number may follow.
_SECRET_NAMES = ("apikey", "api_key", "pass", "passphrase", "passwd", "password", "pwd", "secret", "token")


class Target:
    """
    Say where to connect, for one open: callables for URL and password have been asked.

    Attributes:
        alias: Name of the connection, for messages.
        scheme: Scheme of the URL, such as ``mysql+pymysql``.
        host, port, user, password, database: Parts of the URL, unquoted; None where it has none.
        query: The URL's query parameters that are not options of taskconn: the driver's connect arguments by
            their own names, as strings.
        connect_args: The driver's connect arguments as objects.
        options: Options of the alias.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- as many parts as an URL has
        self,
        alias: str,
        scheme: str,
        host: str | None = None,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        query: Mapping[str, str] = MappingProxyType({}),
        connect_args: Mapping[str, Any] = MappingProxyType({}),
        options: Options | None = None,
    ) -> None:
        self.alias = alias
        self.scheme = scheme
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.database = database
        self.query = query
        self.connect_args = connect_args
        self.options = Options() if options is None else options

    @property
    def address(self) -> str:
        """Where to, without user and password: ``db.example:3306``, or a path."""
        if self.host is None:
            return self.query.get("unix_socket") or self.query.get("host") or self.database or self.scheme
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def without_secrets(self, words: str) -> str:
        """Take out of *words* what is secret here, as it stands and as an URL has it."""
        from urllib.parse import quote, quote_plus  # noqa: PLC0415 -- as long as all of `import taskconn`; needed for errors

        named = [("password", self.password), *self.query.items(), *self.connect_args.items()]
        secrets = [
            value
            for name, value in named
            if isinstance(value, str) and value and name.lower().rstrip("0123456789").endswith(_SECRET_NAMES)
        ]
        for secret in sorted(secrets, key=len, reverse=True):
            for written in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret)):
                words = words.replace(written, "***")
        return words

    def __repr__(self) -> str:
        return f"<Target {self.alias!r} {self.scheme} {self.address}>"
