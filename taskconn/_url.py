"""URLs taken apart and passwords kept out of sight; what the parts mean to a client library is its driver's to know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from .errors import InvalidSettingsError

__all__ = ["PARTS", "Location", "Secret", "join", "redact", "settle", "split", "twice"]

#: Parts of a location that stand for themselves in a mapping.
PARTS = ("host", "port", "user", "password", "database")

#: What stands in a secret's place.
REDACTED = "***"

_SCHEME = re.compile(r"([A-Za-z_][\w+.-]*)://", re.ASCII)
#: ``user:password@`` up to the last ``@`` of the line, for a password may hold anything; else one word before ``@``.
_CREDENTIALS = re.compile(r"://(?:(?P<user>[^\s:/?#@]*):.*@|\S*@)")
#: A setting or query parameter whose name says that its value is secret.
_SECRET_PARAMETER = re.compile(r"(?i)((?:pass|passwd|password|passphrase|pwd|secret|token|api_?key)=)[^\s&;]+")

_ENCODE = (
    "Percent-encode / ? # @ : % and spaces in user and password (`urllib.parse.quote(password, safe='')`), "
    "or give them beside the URL: {'url': ..., 'password': ...}."
)


@dataclass(frozen=True, repr=False)
class Secret:
    """Hold a text that shows as ``***`` everywhere; it pickles whole."""

    value: str

    def __repr__(self) -> str:
        return REDACTED

    def __json__(self) -> str:
        """Show the same to kombu's JSON."""
        return REDACTED


@dataclass(frozen=True, repr=False)
class Location:
    """
    Say where to connect, as an URL or the parts of a mapping have it.

    Attributes:
        scheme: In lower case; "" while a callable keeps it to itself.
        host, port, user, password, database: Unquoted; None where there is none.
        query: Parameters of the URL by name; a password may stand among them.
    """

    scheme: str = ""
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    database: str | None = None
    query: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where to, without user and password."""
        if self.host is None:
            places = (self.query.get(name) for name in ("path", "unix_socket", "host"))
            return next(filter(None, places), None) or self.database or self.scheme
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Location {self.scheme} {self.address}>"


def redact(text: str) -> str:
    """Replace passwords and lone tokens in the URLs of *text*, and what follows ``password=``, by ``***``."""
    text = _CREDENTIALS.sub(_hide, text)
    return _SECRET_PARAMETER.sub(rf"\g<1>{REDACTED}", text)


def split(alias: str, url: str) -> Location:
    """
    Take *url* apart.

    Args:
        alias: Name of the connection, for messages.
        url: ``scheme://user:password@host:port/database?name=value``; all but the scheme may be missing.

    Raises:
        InvalidSettingsError: It can't be read. No part of it that may be a password is repeated.
    """
    url = url.strip()  # a secret read from a file ends in a line break
    start = _SCHEME.match(url)
    if start is None:
        raise InvalidSettingsError(
            alias, "its URL has no scheme", "Write one such as 'mysql://user:password@host/database'."
        )
    scheme = start[1].lower()
    parts = _split_rest(alias, url[start.end() :])
    userinfo, _, place = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    host, port = _split_place(alias, place)
    return Location(
        scheme,
        host,
        port,
        unquote(user) or None,
        Secret(unquote(password)) if password else None,
        unquote(parts.path[1:]) or None,
        _split_query(alias, parts.query),
    )


def settle(alias: str, location: Location) -> Location:
    """
    Give the schemes without a host their own reading: ``sqlite`` names a file, ``unix`` a socket (``query["path"]``).

    Raises:
        InvalidSettingsError: There is a host all the same.
    """
    if location.scheme not in {"sqlite", "unix"}:
        return location
    if location.host is not None or location.port is not None:
        example = (
            "sqlite:///relative.db' or 'sqlite:////absolute.db"
            if location.scheme == "sqlite"
            else "unix:///path/to.sock"
        )
        raise InvalidSettingsError(
            alias, f"{location.scheme}:// URLs have no host", f"Write three slashes or more: '{example}'."
        )
    if location.scheme == "sqlite":
        return replace(location, database=location.database or ":memory:")
    query = location.query
    if location.database is not None:
        query = {"path": f"/{location.database.lstrip('/')}", **query}
    if not query.get("path"):
        raise InvalidSettingsError(alias, "it names no socket", "Write its path: 'unix:///path/to.sock?db=0'.")
    return replace(location, database=None, query=query)


def join(alias: str, url: Location, beside: Location) -> Location:
    """
    Add the parts given *beside* an URL to its own.

    Raises:
        InvalidSettingsError: Something stands in both, so that one of them is a mistake.
    """
    scheme = beside.scheme or url.scheme
    if scheme != url.scheme and not scheme.startswith(f"{url.scheme}+"):
        problem = f"its URL starts with {url.scheme!r}, and beside it stands scheme={scheme!r}"
        raise InvalidSettingsError(
            alias, problem, "Make them the same; beside 'mysql://' a scheme such as 'mysql+pymysql' chooses the driver."
        )
    parts: dict[str, Any] = {}
    for name in PARTS:
        own, other = getattr(url, name), getattr(beside, name)
        if own is not None and other is not None:
            raise twice(alias, name)
        parts[name] = other if own is None else own
    for name in url.query:
        if name in beside.query:
            raise twice(alias, name)
    return settle(alias, Location(scheme, query={**url.query, **beside.query}, **parts))


def twice(alias: str, part: str) -> InvalidSettingsError:
    """Say that *part* was given two times."""
    remedy = "Leave one out: it stands in the URL, beside it, or a callable gives it."
    return InvalidSettingsError(alias, f"{part!r} is given twice", remedy)


def _split_rest(alias: str, rest: str) -> SplitResult:
    """Split what follows ``scheme://``, and refuse what an unquoted password makes of it."""
    problem = ""
    parts = SplitResult("", "", "", "", "")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:  # its text repeats the URL, so it must not become the context of ours
        problem = "its URL can't be read"
    if parts.fragment:
        problem = "its URL has a '#', which ends an URL"
    elif set(rest) & set("\t\r\n"):
        problem = "its URL has a tab or a line break"
    elif parts.netloc and "@" not in parts.netloc and "@" in rest:
        problem = "its URL has an '@' behind a '/' or '?'"
    if problem:
        raise InvalidSettingsError(alias, problem, _ENCODE)
    return parts


def _split_place(alias: str, place: str) -> tuple[str | None, int | None]:
    """Split ``host:port``; an IPv6 address stands in brackets."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        separator, port = rest[:1], rest[1:]
    else:
        host, separator, port = place.partition(":")
    if separator not in {"", ":"} or ":" in port:
        raise InvalidSettingsError(
            alias, "its URL has a host that can't be read", "Write an IPv6 address in brackets: 'redis://[::1]:6379/0'."
        )
    if not port:
        return unquote(host) or None, None
    # isdecimal() is true of digits in every script
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16 and len(port) < 6):  # noqa: PLR2004 -- 65535
        raise InvalidSettingsError(alias, "its URL has a wrong port: a number from 1 to 65535 was expected", _ENCODE)
    return unquote(host) or None, int(port)


def _split_query(alias: str, query: str) -> dict[str, str]:
    pairs: list[tuple[str, str]] = []
    malformed = False
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:  # as above
        malformed = True
    if malformed:
        raise InvalidSettingsError(
            alias, "the query of its URL can't be read", "Write '?name=value&name=value'. " + _ENCODE
        )
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidSettingsError(alias, f"its URL has the parameter {name!r} twice", "Write it once.")
        found[name] = value
    return found


def _hide(match: re.Match[str]) -> str:
    user = match["user"]
    return f"://{user}:{REDACTED}@" if user is not None else f"://{REDACTED}@"
