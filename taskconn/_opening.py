"""How a pool comes by a new connection: the driver's error in taskconn's words, its age, files not to be opened."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ._fitness import Fitness
from ._generation import current as generation
from ._interrupts import is_interrupt, masked_interrupt, strikes
from ._pace import Pace
from ._pooled import FRESH_S, Pooled
from ._process import Owner
from ._server_errors import is_login_refused
from ._shared import SharedNote
from ._sockets import port_of
from .driver import Driver, Target
from .errors import ConnectionFailedError, ConnectionIdentityError, InheritedFileError
from .options import Options

__all__ = ["Opener"]

C = TypeVar("C")
_monotonic = time.monotonic
log = logging.getLogger("taskconn")

#: SQLite files that an ancestor had in use when this process was forked: path -> that ancestor.
_poisoned: dict[str, Owner] = {}


class _FailedTry(Exception):  # noqa: N818 -- never seen outside of this file
    """One try to connect has failed: the driver's error, and its words without the password."""

    def __init__(self, error: BaseException, reason: str) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason


class Opener(Generic[C]):
    """
    Open the connections of one alias.

    Attributes:
        fresh_s: A connection looked at less than so many seconds ago is handed out without any check.
        is_hasty: A check has used up half of the next opening's time.
        is_sure: The server answers as the session of its handshake, as far as was seen; otherwise the next one that is
            opened is asked. So this costs one round trip per alias, for a process and those that it forks; two behind a
            pooler, in each of them.
        shares_sessions: A pooler changes sessions between statements, so that there is none to be reset.
    """

    def __init__(self, alias: str, driver: Driver[C], target: Callable[[], Target], options: Options) -> None:
        self._target = target
        max_idle = float("inf") if options.max_idle is None else options.max_idle
        self._unused_s = min(options.health_check_interval, max_idle)
        self.fresh_s = min(FRESH_S, self._unused_s)
        self._alias = alias
        self._driver = driver
        self._options = options
        self._resource: str | None = None
        self._address = ""
        self.is_hasty = self._is_pooler = self.shares_sessions = False
        self.is_sure, self._was_sure = SharedNote(), SharedNote()
        self.pace = Pace(options)

    def open(self, owner: Owner) -> Pooled[C]:
        """
        Open one, owned by *owner*, which is this process, with as many tries as `connect_retry` allows.

        Raises:
            ConnectionFailedError: The driver could not, its error is the cause; or another try has just failed, or
                `max_connect_rate` leaves no room.
            ConnectionIdentityError: Another session answers, and not because of a pooler.
            InheritedFileError: The parent had this SQLite file in use at the fork.
            BaseException: An interrupt, also one that the library has turned into an error of its own.
        """
        started = _monotonic()
        deadline = started + self._options.acquire_timeout
        tries, last = 0, None
        while True:
            refusal = self.pace.enter(deadline, is_patient=self._options.connect_retry > 0)
            if not refusal:
                tries += 1
                current = generation[0]  # as it was before the password was asked for
                try:
                    pooled = self._log_in(owner)
                except _FailedTry as failed:
                    self.pace.failed(failed.reason)
                    last, refusal = failed, failed.reason
                    if tries <= self._options.connect_retry:
                        continue
                except BaseException:
                    self.pace.left()
                    raise
                else:
                    self.pace.succeeded()
                    pooled.generation = current
                    return pooled
            elapsed_ms = round((_monotonic() - started) * 1000)
            error = ConnectionFailedError(self._alias, self._address, tries, elapsed_ms, refusal)
            raise error from (None if last is None else last.error)

    def renew(self) -> None:
        """Forget what other tries have come to, in a child: its locks may be held by nobody."""
        self.pace = Pace(self._options)

    def keep_fresh(self, pooled: Pooled[C], now: float) -> None:
        """Have *pooled*, which has just been used or looked at, handed out without a check for a while."""
        if pooled.generation != generation[0]:
            pooled.expires_at = 0.0
        pooled.fresh_until = min(now + self.fresh_s, pooled.expires_at, pooled.used_at + self._unused_s)

    def learn(self, fitness: Fitness) -> None:
        """Take in what was found out about a connection that is to be dropped."""
        if fitness is Fitness.STRANGE:
            self.is_sure.set(False)
        self.is_hasty |= fitness is Fitness.SILENT

    def poison(self, parent: Owner) -> None:
        """Refuse every later open of the resource that was opened last: *parent* had it in use at the fork."""
        if self._resource is not None:
            _poisoned[self._resource] = parent

    def _log_in(self, owner: Owner) -> Pooled[C]:
        """
        Try once; credentials that are refused are asked for once more, for they may have been changed a moment ago.

        Raises:
            _FailedTry: The driver could not.
        """
        target = self._ask_target(owner)
        try:
            return self._try(target, owner)
        except _FailedTry as failed:
            renewed = self._ask_target(owner) if is_login_refused(failed.error) else target
            if renewed == target:
                raise
        return self._try(renewed, owner)

    def _ask_target(self, owner: Owner) -> Target:
        target = self._target()
        self._address = target.address
        self._resource = self._driver.resource(target)
        if self._resource in _poisoned:
            raise InheritedFileError(self._alias, _poisoned[self._resource].pid, owner.pid, self._resource)
        return target

    def _try(self, target: Target, owner: Owner) -> Pooled[C]:
        driver = self._driver
        timeout_s = self._options.connect_timeout / (2 if self.is_hasty else 1)
        self.is_hasty = False
        handled, mark = sys.exc_info()[1], strikes.count
        connection: C | None = None
        try:
            connection = driver.open(target, timeout_s)
            identity = self._identify(connection)
            if self._options.max_idle is not None and not self._is_pooler:
                from ._idle import tell_server  # noqa: PLC0415 -- few say `max_idle`

                tell_server(self._alias, driver, connection, self._options.max_idle, timeout_s)
            if (swallowed := strikes.since(mark)) is not None:
                raise swallowed  # noqa: TRY301 -- to be treated as what struck and was let through
        except BaseException as error:
            if connection is not None:
                driver.invalidate(connection)
            interrupt = None if is_interrupt(error) else masked_interrupt(error, handled, mark)
            if interrupt is not None:
                raise interrupt  # noqa: B904 -- its own context shows what the library made of it
            if not isinstance(error, driver.errors):
                raise
            raise _FailedTry(error, target.without_secrets(str(error))) from error
        now = _monotonic()
        pooled = Pooled(connection, driver.session(connection), owner, now, now + self._lifetime_s(), self.fresh_s)
        pooled.record_sockets(driver)
        pooled.identity = identity
        if driver.dialect and pooled.sockets:
            pooled.port = port_of(pooled.sockets[0].fd)
        return pooled

    def _identify(self, connection: C) -> str | None:
        """
        Tell which session this is; None if that says nothing.

        A pooler tells a client ids that it made up, and gives it one of its own sessions: as long as the client stays,
        or only for one transaction. A wrong id where the right one was seen before is something else: a socket that
        somebody else uses, too.
        """
        driver, timeout_s = self._driver, self._options.connect_timeout
        told = driver.identity(connection)
        if told is None or self._is_pooler or self.is_sure:
            return None if self._is_pooler else told
        found = driver.ask_identity(connection, timeout_s)
        if found is not None and found != told:
            if self._was_sure:
                raise ConnectionIdentityError(self._alias, told, found)
            self.shares_sessions = found != driver.ask_identity(connection, timeout_s)
            self._is_pooler = True
            self._warn()
            return None
        self.is_sure.set(True)
        self._was_sure.set(True)
        return told

    def _warn(self) -> None:
        words = "identity checks are off"
        if self.shares_sessions:
            words = "it changes sessions between statements: identity checks and `reset` are off"
        log.warning("connection %r: a pooler stands in front of the server; %s", self._alias, words)

    def _lifetime_s(self) -> float:
        max_age = self._options.max_age
        if max_age is None:
            return float("inf")
        import random  # noqa: PLC0415 -- half as dear as all of this layer; most programs have it when they connect

        return max_age * (1 - self._options.jitter * random.random())
