"""Settings as people give them: mappings of aliases, the environment; and what may be shown of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ._option_values import nearest
from ._parse import parse
from ._settings import Settings
from ._url import Secret, redact
from .errors import ConfigurationError, InvalidSettingsError

__all__ = [
    "Databases",
    "Environment",
    "Secret",
    "Settings",
    "environment",
    "from_environment",
    "nearest",
    "parse",
    "parse_databases",
    "redact",
]

#: ``TASKCONN_URL``, ``TASKCONN_<ALIAS>_URL``.
_VARIABLE = re.compile(r"TASKCONN_(?:(?P<alias>\w+)_)?URL")


class Databases:
    """
    Hold settings of several aliases where others may print them: ``app.conf.taskconn_databases``.

    It shows aliases and addresses in repr, pprint and kombu's JSON, and pickles whole. It is no mapping: error
    reporters and `celery inspect conf` walk through mappings and would show what is inside.
    """

    __slots__ = ("_raw",)

    def __init__(self, databases: Mapping[str, Any] | Databases) -> None:
        self._raw = dict(_raw(databases))

    @property
    def raw(self) -> dict[str, Any]:
        """The settings as they were given."""
        return self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, alias: object) -> bool:
        return alias in self._raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Databases) and other._raw == self._raw

    __hash__ = None  # type: ignore[assignment]  # holds mappings

    def __repr__(self) -> str:
        return f"<Databases {self.__json__()}>"

    def __json__(self) -> dict[str, str]:
        """Show the same to kombu's JSON: an address for each alias."""
        return {str(alias): _shown(alias, value) for alias, value in self._raw.items()}

    def __copy__(self) -> Databases:
        return self

    def __deepcopy__(self, memo: object) -> Databases:
        return self  # never changed; a callable among the settings need not be picklable to be copied

    def __reduce__(self) -> tuple[type[Databases], tuple[dict[str, Any]]]:
        for alias, value in self._raw.items():
            _require_picklable(alias, value)
        return Databases, (self._raw,)


def parse_databases(databases: Mapping[str, Any] | Databases) -> dict[str, Settings]:
    """
    Parse the settings of several aliases.

    Args:
        databases: Alias to URL, callable or mapping; see `parse`.

    Raises:
        ConfigurationError: The first problem.
    """
    return {alias: parse(alias, value) for alias, value in _raw(databases).items()}


def from_environment(environ: Mapping[str, str]) -> dict[str, Settings]:
    """
    Parse ``TASKCONN_URL`` (the alias ``default``) and ``TASKCONN_<ALIAS>_URL`` (the alias in lower case).

    Empty variables count as not set.

    Raises:
        InvalidSettingsError: An URL can't be read, or two variables name one alias and differ.
    """
    urls: dict[str, str] = {}
    for name, url in sorted(environ.items()):
        match = _VARIABLE.fullmatch(name)
        if match is None or not url.strip():
            continue
        alias = (match["alias"] or "default").lower()
        if urls.setdefault(alias, url) != url:
            problem = f"two variables of the environment give it different URLs, {name} is one of them"
            raise InvalidSettingsError(alias, problem, f"Unset {name}, or make both the same.")
    return {alias: parse(alias, url) for alias, url in urls.items()}


class Environment:
    """Read TASKCONN_URL and its like once for each content of the environment."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._settings: dict[str, Settings] = {}

    def __call__(self) -> Mapping[str, Settings]:
        """Read it, if it has changed since."""
        relevant = {name: value for name, value in os.environ.items() if name.startswith("TASKCONN_")}
        if relevant != self._seen:
            self._settings = from_environment(relevant)
            self._seen = relevant
        return self._settings


environment = Environment()


def _raw(databases: object) -> Mapping[str, Any]:
    if isinstance(databases, Databases):
        return databases.raw
    if isinstance(databases, Mapping):
        return databases
    problem = f"settings are of type {type(databases).__name__} where a mapping of aliases was expected"
    raise InvalidSettingsError("default", problem, "Write {'default': 'mysql://user:password@host/database'}.")


def _shown(alias: str, value: Any) -> str:
    try:
        return parse(alias, value).shown
    except ConfigurationError as error:
        return f"*** ({type(error).__name__})"


def _require_picklable(alias: str, value: object) -> None:
    """Name the alias whose settings a spawned worker could not be sent; pickle itself names only the object."""
    import pickle  # noqa: PLC0415 -- needed where settings are pickled, which has imported it

    try:
        pickle.dumps(value)
    except Exception as error:
        problem = f"they can't be sent to a spawned process ({type(error).__name__})"
        remedy = "Write a callable as 'module:attribute', or define it by `def` at the top of a module."
        raise InvalidSettingsError(alias, problem, remedy) from error
