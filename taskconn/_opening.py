"""How a pool comes by a new connection: the driver's error in taskconn's words, its age, files not to be opened."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ._pooled import FRESH_S, Pooled
from ._process import Owner
from .driver import Driver, Target
from .errors import ConnectionFailedError, InheritedFileError
from .options import Options

__all__ = ["Opener"]

C = TypeVar("C")
_monotonic = time.monotonic

#: SQLite files that an ancestor had in use when this process was forked: path -> that ancestor.
_poisoned: dict[str, Owner] = {}


class Opener(Generic[C]):
    """
    Open the connections of one alias.

    Attributes:
        fresh_s: A connection used less than so many seconds ago is handed out without any check.
    """

    def __init__(self, alias: str, driver: Driver[C], target: Callable[[], Target], options: Options) -> None:
        self._target = target
        max_idle = float("inf") if options.max_idle is None else options.max_idle
        self.fresh_s = min(FRESH_S, options.health_check_interval, max_idle)
        self._alias = alias
        self._driver = driver
        self._options = options
        self._resource: str | None = None

    def open(self, owner: Owner) -> Pooled[C]:
        """
        Open one, owned by *owner*, which is this process.

        Raises:
            ConnectionFailedError: The driver could not; its error is the cause.
            InheritedFileError: The parent had this SQLite file in use at the fork.
        """
        target, driver = self._target(), self._driver
        self._resource = driver.resource(target)
        if self._resource in _poisoned:
            raise InheritedFileError(self._alias, _poisoned[self._resource].pid, owner.pid, self._resource)
        started = _monotonic()
        try:
            connection = driver.open(target, self._options.connect_timeout)
        except driver.errors as error:
            words = str(error) if not target.password else str(error).replace(target.password, "***")
            elapsed_ms = round((_monotonic() - started) * 1000)
            raise ConnectionFailedError(self._alias, target.address, 1, elapsed_ms, words) from error
        now = _monotonic()
        pooled = Pooled(connection, driver.session(connection), owner, now, now + self._lifetime_s(), self.fresh_s)
        pooled.record_sockets(driver)
        pooled.identity = driver.identity(connection)
        return pooled

    def poison(self, parent: Owner) -> None:
        """Refuse every later open of the resource that was opened last: *parent* had it in use at the fork."""
        if self._resource is not None:
            _poisoned[self._resource] = parent

    def _lifetime_s(self) -> float:
        max_age = self._options.max_age
        return float("inf") if max_age is None else max_age * (1 - self._options.jitter * random.random())
