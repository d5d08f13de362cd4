"""From what people write for one alias — an URL, a callable, a mapping — to its `Settings`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ._option_values import is_import_name, is_option, nearest, options_from
from ._settings import CONNECT, Settings, Source
from ._url import PARTS, Location, Secret, join, settle, split, twice
from .errors import InvalidSettingsError, UnknownOptionError
from .options import Options

__all__ = ["parse"]

_KEYS = ("url", "scheme", "driver", *PARTS, "user_from", "password_from", "query", "connect_args")
_KNOWN = (*_KEYS, *Options.__annotations__)

#: Names that other libraries have for what is meant.
_SYNONYMS: Mapping[str, str] = {
    "conn_max_age": "max_age",
    "db": "database",
    "dbname": "database",
    "name": "database",
    "passwd": "password",
    "path": "database",
    "pool_recycle": "max_age",
    "pool_size": "max_size",
    "pool_timeout": "acquire_timeout",
    "timeout": "connect_timeout",
    "uri": "url",
    "username": "user",
}


def parse(alias: str, value: str | Callable[[], str] | Mapping[str, Any], **options: Any) -> Settings:
    """
    Parse what was given for one alias, without importing a driver or asking a callable.

    Args:
        alias: Name of the connection.
        value: URL; callable, or ``"module:attribute"`` of one, that gives the URL at each open; or a mapping with
            ``url`` (any of these) or its parts, options by name, and ``connect_args``.
        options: The same keys as in a mapping; they win over it.

    Raises:
        UnknownOptionError: A key is unknown.
        InvalidSettingsError: A value is wrong, or stated twice.
    """
    _require_name(alias)
    given = {**value, **options} if isinstance(value, Mapping) else {"url": value, **options}
    for name in given:
        if name not in _KNOWN:
            raise _unknown(alias, name)
    url, known = _read_url(alias, given)
    beside = _read_parts(alias, given)
    location = beside if known is None else join(alias, known, beside)
    if not location.scheme and url is None and given.get("connect") is not None:
        location = replace(location, scheme=CONNECT)
    if not location.scheme and url is None:
        raise InvalidSettingsError(
            alias, "it has neither 'url' nor 'scheme'", "Write {'url': 'mysql://user:password@host/database'}."
        )
    if location.scheme and known is None and url is None:
        location = settle(alias, location)
    texts = {name: text for name, text in location.query.items() if is_option(name)}
    location = replace(location, query={name: text for name, text in location.query.items() if name not in texts})
    return Settings(
        alias,
        location.scheme,
        options_from(alias, {name: value for name, value in given.items() if is_option(name)}, texts),
        location,
        _read_mapping(alias, given, "connect_args"),
        url,
        _read_source(alias, given, "user", location.user),
        _read_source(alias, given, "password", location.password),
    )


def _require_name(alias: object) -> None:
    if not isinstance(alias, str) or not alias:
        raise InvalidSettingsError(str(alias), "its name is no text", "Name it by a string such as 'default'.")


def _read_url(alias: str, given: Mapping[str, Any]) -> tuple[Source | None, Location | None]:
    """Read ``url``: what is to be asked for it, or its parts."""
    url = given.get("url")
    if url is None:
        if "url" in given:
            raise InvalidSettingsError(
                alias, "its URL is None", "Give an URL; if it is read from the environment, set the variable."
            )
        return None, None
    if callable(url) or is_import_name(url):
        return url, None
    if not isinstance(url, str):
        remedy = "Write an URL, a callable that gives one, its name 'module:attribute', or a mapping with 'url'."
        raise InvalidSettingsError(alias, f"its URL is of type {type(url).__name__}", remedy)
    if "://" not in url:
        remedy = "Write one such as 'mysql://user:password@host/database', or the name of a callable that gives it."
        raise InvalidSettingsError(alias, "its URL is neither 'scheme://...' nor 'module:attribute'", remedy)
    return None, split(alias, url)


def _read_parts(alias: str, given: Mapping[str, Any]) -> Location:
    """Read the parts that stand in a mapping, beside an URL or instead of it."""
    port, database, password = given.get("port"), given.get("database"), given.get("password")
    if isinstance(port, str) and port.isascii() and port.isdecimal():  # as an environment variable has it
        port = int(port)
    if port is not None and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 2**16):
        raise InvalidSettingsError(alias, "'port' is wrong", "Write a whole number from 1 to 65535.")
    if isinstance(database, (int, os.PathLike)) and not isinstance(database, bool):
        database = str(database)
    if isinstance(password, Secret):
        password = password.value
    secret = None if callable(password) else _text(alias, "password", password)
    return Location(
        _read_scheme(alias, given),
        _text(alias, "host", given.get("host")),
        port,
        None if callable(given.get("user")) else _text(alias, "user", given.get("user")),
        Secret(secret) if secret is not None else None,
        _text(alias, "database", database),
        {name: _text(alias, name, _plain(value)) or "" for name, value in _read_mapping(alias, given, "query").items()},
    )


def _read_scheme(alias: str, given: Mapping[str, Any]) -> str:
    named = [text for key in ("scheme", "driver") if (text := _text(alias, key, given.get(key)))]
    if len(named) > 1:
        raise InvalidSettingsError(
            alias, "'scheme' and 'driver' are two names of one setting", "Leave one of them out."
        )
    return named[0].partition("://")[0].lower() if named else ""


def _read_source(alias: str, given: Mapping[str, Any], part: str, literal: object) -> Source | None:
    """Read what is to be asked for user or password: a callable, or ``*_from``; a text is the thing itself."""
    key = f"{part}_from"
    source: object = given.get(key)
    if callable(given.get(part)):
        if source is not None:
            raise InvalidSettingsError(alias, f"{part!r} and {key!r} are both given", "Leave one of them out.")
        source = given[part]
    if source is None:
        return None
    if literal is not None:
        raise twice(alias, part)
    if callable(source):
        return source
    if not isinstance(source, str) or not is_import_name(source):
        remedy = f"Write a callable or its name 'module:attribute'; a {part} itself stands in {part!r}."
        raise InvalidSettingsError(alias, f"{key!r} is neither", remedy)
    return source


def _read_mapping(alias: str, given: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidSettingsError(alias, f"{key!r} is no mapping of names", f"Write {key}={{'name': value}}.")
    return dict(value)


def _text(alias: str, key: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidSettingsError(alias, f"{key!r} is of type {type(value).__name__}", "Write a string.")
    return value or None


def _plain(value: object) -> object:
    """Write a number or a truth as it would stand in an URL."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


def _unknown(alias: str, name: object) -> UnknownOptionError:
    meant = _SYNONYMS.get(str(name).lower())
    sentence = f"Did you mean {meant!r}?" if meant else nearest(str(name), _KNOWN)
    hint = "Arguments of the client library go into `connect_args={...}`, or into the query of the URL."
    return UnknownOptionError(alias, str(name), ", ".join(_KNOWN), f"{sentence} {hint}")
