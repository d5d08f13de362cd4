"""The values of an alias's options: which are right, how they are written in an URL, and what to say of wrong ones."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ._url import twice
from .errors import InvalidSettingsError
from .options import Options

__all__ = ["is_import_name", "is_option", "nearest", "options_from"]

_IMPORT_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_NONES = {"", "none"}

#: Longest text of a wrong value that an error repeats, in characters.
_SHOWN = 40

#: How alike two words must be for one to be taken for the other; difflib's own 0.6 takes "charset" for "reset".
_LIKENESS = 0.7


class _Kind(NamedTuple):
    """One kind of value: what to write, whether a value is right, how a text is read (or KeyError, ValueError)."""

    expected: str
    accepts: Callable[[Any], bool]
    read: Callable[[str], Any]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _read_bool(text: str) -> bool:
    return _BOOLEANS[text.lower()]


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(
        f"{kind.expected}, or None",
        lambda value: value is None or kind.accepts(value),
        lambda text: None if text.lower() in _NONES else kind.read(text),
    )


_SECONDS = _Kind("a number of seconds, 0 or more", _is_number, float)
_SECONDS_ABOVE_0 = _Kind("a number of seconds above 0", lambda value: _is_number(value) and value > 0, float)
_FRACTION = _Kind("a number from 0 to 1", lambda value: _is_number(value) and value <= 1, float)
_RATE = _Kind("a number per second above 0", lambda value: _is_number(value) and value > 0, float)
_COUNT = _Kind("a whole number, 0 or more", _is_count, int)
_COUNT_ABOVE_0 = _Kind("a whole number, 1 or more", lambda value: _is_count(value) and value > 0, int)
_BOOL = _Kind("True or False", _is_bool, _read_bool)
_BOOL_OR_CALLABLE = _Kind(
    "True, False, or a function that gets the connection",
    lambda value: _is_bool(value) or callable(value),
    _read_bool,
)
_CALLABLE = _Kind(
    "a function, or its name as 'module:attribute'",
    lambda value: callable(value) or is_import_name(value),
    str,
)


_NAMED_OBJECTS = _Kind(
    "a mapping {'name': value}, beside the URL",
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
    str,
)


def _one_of(*words: str) -> _Kind:
    return _Kind(" or ".join(map(repr, words)), lambda value: isinstance(value, str) and value in words, str)


_KINDS: Mapping[str, _Kind] = {
    "max_age": _or_none(_SECONDS),
    "jitter": _FRACTION,
    "max_idle": _or_none(_SECONDS),
    "health_check_interval": _SECONDS,
    "connect_timeout": _SECONDS_ABOVE_0,
    "acquire_timeout": _SECONDS,
    "settle_timeout": _SECONDS_ABOVE_0,
    "close_timeout": _SECONDS,
    "max_size": _or_none(_COUNT_ABOVE_0),
    "warm": _BOOL,
    "transaction": _one_of("task", "none"),
    "reset": _BOOL_OR_CALLABLE,
    "cancel": _BOOL,
    "deadline": _BOOL,
    "label": _BOOL,
    "connect_retry": _COUNT,
    "reconnect_spread": _SECONDS,
    "max_connect_rate": _or_none(_RATE),
    "leak_threshold": _or_none(_SECONDS),
    "inject": _or_none(_one_of("session", "connection", "engine")),
    "engine_args": _or_none(_NAMED_OBJECTS),
    "connect": _or_none(_CALLABLE),
    "check": _or_none(_CALLABLE),
    "close": _or_none(_CALLABLE),
}


def is_option(name: str) -> bool:
    """Tell whether *name* is an option of taskconn, not of a client library."""
    return name in _KINDS


def is_import_name(value: object) -> bool:
    """Tell whether *value* is written as ``module:attribute``."""
    return isinstance(value, str) and _IMPORT_NAME.fullmatch(value) is not None


def options_from(alias: str, given: Mapping[str, object], texts: Mapping[str, str]) -> Options:
    """
    Check the options of an alias.

    Args:
        alias: Name of the connection, for messages.
        given: Options by name, as objects.
        texts: Options by name, as they stand in an URL.

    Raises:
        InvalidSettingsError: A value is wrong, or given twice.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        if not _KINDS[name].accepts(value):
            raise _wrong(alias, name, value)
        values[name] = value
    for name, text in texts.items():
        if name in values:
            raise twice(alias, name)
        values[name] = _read(alias, name, text)
    return Options(**values)


def nearest(word: str, known: Iterable[str]) -> str:
    """Say in a sentence which of the words *known* was likely meant."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=_LIKENESS)
    return f"Did you mean {matches[0]!r}?" if matches else "Write one of them."


def _read(alias: str, name: str, text: str) -> object:
    kind = _KINDS[name]
    try:
        value = kind.read(text.strip())
    except (KeyError, ValueError):
        value = text
    if not kind.accepts(value):
        raise _wrong(alias, name, text)
    return value


def _wrong(alias: str, name: str, value: object) -> InvalidSettingsError:
    shown = repr(value) if isinstance(value, (str, int, float)) or value is None else f"of type {type(value).__name__}"
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}…"
    return InvalidSettingsError(alias, f"{name!r} is {shown}", f"Write {_KINDS[name].expected}.")
