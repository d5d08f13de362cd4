"""One alias in a registry: how to connect to it. What people write for it is read by `config.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ._leaks import WatchedPool
from ._pool import Pool
from .driver import Driver, Target
from .errors import InvalidSettingsError
from .options import Options

__all__ = ["Changes", "Entry", "Settings", "environment"]


class Changes:
    """
    Count what is asked for after every task: whether the pools are still the same.

    Attributes:
        number: Of pools that were made, or forgotten, in any registry.
    """

    number = 0


class Settings(Protocol):
    """
    Know how to connect to one alias: what a registry needs of `config.Settings`.

    `config` is imported with the first alias. It takes as long as the rest of `import taskconn`, and a process whose
    settings come from elsewhere, or which only sends tasks, never needs it.
    """

    @property
    def options(self) -> Options:
        """Options of the alias."""

    def driver_class(self) -> type[Driver[Any]]:
        """Import the driver."""

    def target(self) -> Target:
        """Say where to connect now."""


class Entry:
    """How to connect to one alias: parsed settings, and the driver if it was given as an object."""

    __slots__ = ("driver", "settings")

    def __init__(self, settings: Settings, driver: Driver[Any] | None = None) -> None:
        self.settings = settings
        self.driver = driver

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (other.settings, other.driver) == (self.settings, self.driver)

    __hash__ = None  # type: ignore[assignment]  # compared only

    def load(self, alias: str) -> Driver[Any]:
        """
        Give the driver, imported if it was not given.

        Raises:
            ConfigurationError: There is none, or it lacks what the options ask for.
        """
        driver = self.driver if self.driver is not None else self.settings.driver_class()()
        if self.settings.options.reset is True and type(driver).reset is Driver.reset:
            problem = f"reset=True, and its driver {type(driver).__name__} can't reset a session"
            remedy = "Write a function that gets the connection, reset=clean, or leave it out."
            raise InvalidSettingsError(alias, problem, remedy)
        return driver

    def make_pool(self, alias: str) -> Pool[Any]:
        """Make a pool for *alias*, empty, and with its driver imported."""
        settings, driver = self.settings, self.load(alias)
        kind = Pool if settings.options.leak_threshold is None else WatchedPool
        pool = kind(alias, driver, settings.target, settings.options)
        if settings.options.deadline:
            from ._deadlines import Deadlines  # noqa: PLC0415 -- for those who ask for it

            pool.deadlines = Deadlines(pool)
        return pool


def environment() -> Mapping[str, Settings]:
    """Give the environment's settings, which rank last."""
    from . import config  # noqa: PLC0415 -- see `Settings`

    return config.environment()
