"""Connect arguments of a client library, by its own names; what they mean is the driver's to know."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ._process import getpid
from .driver import Target
from .errors import InvalidSettingsError, UnknownOptionError
from .options import Options

__all__ = ["Reader", "boolean", "label", "read", "refuse_autocommit", "refuse_unknown"]

#: Makes a value from the string in an URL; raises ValueError, saying what was expected.
Reader = Callable[[str], Any]

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_OPTION_NAMES = tuple(Options.__annotations__)


def boolean(text: str) -> bool:
    """Read a yes or no in any of the ways that people write it."""
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("true or false was expected") from None


def read(target: Target, known: Mapping[str, Reader | None]) -> dict[str, Any]:
    """
    Read the connect arguments of *target*: its query's strings, then its objects, which win.

    Args:
        target: Where they stand.
        known: Name of each argument, with what reads it from a string; None for one that has to be an object.

    Raises:
        UnknownOptionError: A name is not in *known*.
        InvalidSettingsError: A string can't be read.
    """
    refuse_unknown(target, (*target.query, *target.connect_args), known)
    arguments = {name: _from_text(target, name, text, known[name]) for name, text in target.query.items()}
    arguments.update(target.connect_args)
    return arguments


def refuse_unknown(target: Target, names: Iterable[str], known: Iterable[str]) -> None:
    """
    Refuse what the library does not have.

    Raises:
        UnknownOptionError: One of *names* is not in *known*.
    """
    for name in names:
        if name not in known:
            raise UnknownOptionError(target.alias, name, ", ".join(sorted(known)), _nearest(name, known))


def refuse_autocommit(target: Target, setting: str) -> None:
    """
    Refuse *setting*, which commits every statement, where the lease is to commit or roll back.

    Raises:
        InvalidSettingsError: The alias has no ``transaction="none"``.
    """
    if target.options.transaction != "none":
        problem = f"{setting} commits every statement, so a task that fails could not be rolled back"
        remedy = 'Leave it out, or write transaction="none" beside it: then every task settles for itself.'
        raise InvalidSettingsError(target.alias, problem, remedy)


def label(alias: str, longest: int = 255) -> str:
    """
    Name this process's connections of *alias* for the people who look at the server: ``taskconn:alias:host:pid``.

    Args:
        alias: Name of the connection.
        longest: Most characters that the server keeps; the middle is cut, for the pid has to stay.
    """
    host = socket.gethostname().partition(".")[0]
    text = "".join(character if "!" <= character <= "~" else "_" for character in f"taskconn:{alias}:{host}")
    end = f":{getpid()}"
    return text[: longest - len(end)] + end


def _from_text(target: Target, name: str, text: str, reader: Reader | None) -> Any:
    if reader is None:
        problem = f"{name!r} in the URL is a string, and has to be an object"
        remedy = f"Write it beside the URL: `connect_args={{{name!r}: ...}}`."
        raise InvalidSettingsError(target.alias, problem, remedy)
    try:
        return reader(text)
    except ValueError as error:
        problem = f"{name}={text!r} in the URL can't be read ({error})"
        raise InvalidSettingsError(target.alias, problem, f"Mend the value of {name!r}.") from error


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, [*known, *_OPTION_NAMES], n=1)
    return f"Did you mean {matches[0]!r}?" if matches else "Write one of them, or leave it out."
