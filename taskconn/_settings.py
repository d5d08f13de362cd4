"""One alias, parsed: what was given for it, and the `Target` of an open. Nothing is imported or asked before that."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import drivers
from ._option_values import is_option
from ._url import Location, Secret, join, split, twice
from .driver import Driver, Target
from .errors import InvalidSettingsError
from .options import Options, shown

__all__ = ["CONNECT", "Settings", "Source"]

#: Scheme of clients that the option `connect` gives, whatever the scheme of their URL.
CONNECT = "connect"

#: What gives an URL, a user or a password when a connection is opened: a callable, or its name ``module:attribute``.
Source = Callable[[], str] | str


@dataclass(frozen=True, repr=False)
class Settings:
    """
    Hold what was given for one alias. Equal to another one if the same was given; safe to print; pickles whole.

    Attributes:
        alias: Name of the connection.
        scheme: Scheme of the URL; "" while only a callable knows it.
        options: Options of the alias.
        location: Parts of the URL, and those given beside it; without what is asked at each open.
        connect_args: The client library's connect arguments as objects.
        url, user_from, password_from: What is asked at each open.
    """

    alias: str
    scheme: str
    options: Options
    location: Location
    connect_args: dict[str, Any] = field(default_factory=dict)
    url: Source | None = None
    user_from: Source | None = None
    password_from: Source | None = None

    @property
    def address(self) -> str:
        """Where to, without user and password; "callable" if only asking would tell."""
        return self.location.address if self.url is None else "callable"

    @property
    def shown(self) -> str:
        """Scheme and address, as far as they are known without asking; safe to print."""
        return f"{self.scheme} {self.address}".strip()

    def driver_class(self) -> type[Driver[Any]]:
        """
        Import the driver. A callable URL without a ``scheme`` beside it is asked.

        Raises:
            UnknownSchemeError: No driver answers to the scheme.
            DriverNotInstalledError: The package that it needs is missing, or too old.
            InvalidSettingsError: A callable could not be imported, or gave no URL.
        """
        if self.options.connect is not None:
            return drivers.load(CONNECT, self.alias)
        return drivers.load(self.scheme or self._locate().scheme, self.alias)

    def target(self) -> Target:
        """
        Say where to connect now: callables for URL, user and password are asked.

        Raises:
            InvalidSettingsError: A callable can't be imported, or gave what can't be used.
        """
        location = self._locate()
        password = self._secret("password", self.password_from, location.password)
        user = self._secret("user", self.user_from, Secret(location.user) if location.user else None)
        return Target(
            self.alias,
            location.scheme,
            location.host,
            location.port,
            user.value if user else None,
            password.value if password else None,
            location.database,
            dict(location.query),
            dict(self.connect_args),
            self.options,
        )

    def __repr__(self) -> str:
        changed = [
            f" {name}={shown(value)}"
            for name, value in self.options.as_dict().items()
            if value != getattr(Options, name)
        ]
        return f"<Settings {self.alias!r} {self.shown}{''.join(changed)}>"

    def _locate(self) -> Location:
        if self.url is None:
            return self.location
        found = split(self.alias, _ask(self.alias, "URL", self.url))
        for name in found.query:
            if is_option(name):
                problem = f"the URL that its callable gave has the option {name!r}, which is needed before it is asked"
                raise InvalidSettingsError(
                    self.alias, problem, f"Write it beside the URL: {{'url': ..., {name!r}: ...}}."
                )
        return join(self.alias, found, self.location)

    def _secret(self, part: str, source: Source | None, given: Secret | None) -> Secret | None:
        if source is None:
            return given
        if given is not None:
            raise twice(self.alias, part)
        return Secret(_ask(self.alias, part, source))


def _ask(alias: str, part: str, source: Source) -> str:
    """Ask a callable for *part* of an URL, or for the whole. What it raises goes through."""
    function = _import(alias, part, source) if isinstance(source, str) else source
    answer: object = function()
    if not isinstance(answer, str) or not answer:
        shown = f"an object of type {type(answer).__name__}" if answer else repr(answer)
        raise InvalidSettingsError(alias, f"the callable for its {part} gave {shown}", "Give back a string.")
    return answer


def _import(alias: str, part: str, name: str) -> Callable[[], object]:
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for step in attribute.split("."):
            found = getattr(found, step)
    except (ImportError, AttributeError) as error:
        problem = f"{name!r}, which is to give its {part}, can't be imported ({error})"
        raise InvalidSettingsError(
            alias, problem, "Write 'module:attribute' of a function in an importable module."
        ) from error
    if not callable(found):
        raise InvalidSettingsError(
            alias, f"{name!r}, which is to give its {part}, is not callable", "Name a function without arguments."
        )
    return found  # type: ignore[no-any-return]  # what it gives back is looked at by its caller
