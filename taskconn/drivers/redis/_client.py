"""redis-py's client and pipeline, where they hold one connection over several commands."""

from __future__ import annotations

import time
from typing import Any

import redis
import redis.client
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError, TimeoutError, WatchError  # noqa: A004 -- its own

from ..._interrupts import heard
from ...errors import TaintedConnectionError
from ._connections import SafePool

__all__ = ["Client"]

#: How often one looks who waits for a subscription of another thread's, in seconds.
_POLL_S = 0.02


class _Pipeline(redis.client.Pipeline):
    """
    A pipeline that is of no use after an interrupt while it watched.

    1. It watches a key and is interrupted before a reply is read.
    2. The next command would be given that reply; so the connection is dropped, and with it the watch.
    3. EXEC over a new connection would succeed although the key has changed: an update lost. So it is refused.
    """

    connection_pool: SafePool
    connection: Any
    _interrupt = ""

    def immediate_execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command at once, while watching."""
        self._refuse_interrupted()
        try:
            return heard(super().immediate_execute_command, *arguments, **options)
        except RedisError:
            raise
        except BaseException as interrupt:
            self._interrupt = type(interrupt).__name__
            if self.connection is not None:
                self.connection.disconnect()
            raise

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 -- redis-py's signature
        """
        Send what was collected.

        Raises:
            redis.exceptions.ConnectionError: The answer was lost, and EXEC may have been done. redis-py makes a
                WatchError of it while a key is watched, for which `Redis.transaction` would do it again.
        """
        self._refuse_interrupted()
        try:
            executed: list[Any] = heard(super().execute, raise_on_error)
        except WatchError as error:
            if isinstance(error.__context__, LostError | TimeoutError):
                raise error.__context__ from None
            raise
        return executed

    def reset(self) -> None:  # type: ignore[override]  # as redis-py's own pipeline has it
        """Begin anew."""
        heard(super().reset)
        self._interrupt = ""

    def _refuse_interrupted(self) -> None:
        if self._interrupt:
            raise TaintedConnectionError(self.connection_pool.session.alias, self._interrupt)


class _Event:
    """
    Stand for a `threading.Event` that has no lock.

    An interrupt that strikes in `threading` as it takes the lock of an event leaves it locked, and redis-py takes it in
    the destructor of a subscription: the process would hang there.
    """

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Tell."""
        return self._is_set

    def set(self) -> None:
        """Let those who wait go on."""
        self._is_set = True

    def clear(self) -> None:
        """Let them wait."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait; redis-py does where a thread listens before another one subscribes."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_set and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_S if deadline is None else max(0, min(_POLL_S, deadline - time.monotonic())))
        return self._is_set


class _PubSub(redis.client.PubSub):
    """A subscription whose interrupts redis-py neither swallows, nor waits for ever after."""

    @property
    def subscribed_event(self) -> Any:
        """Is there a subscription?"""
        return self._event

    @subscribed_event.setter
    def subscribed_event(self, _: object) -> None:
        self._event = _Event()

    def execute_command(self, *arguments: Any) -> Any:
        """Subscribe, or no longer."""
        return heard(super().execute_command, *arguments)

    def get_message(self, *arguments: Any, **options: Any) -> Any:
        """Wait for a message."""
        return heard(super().get_message, *arguments, **options)


class Client(redis.Redis):
    """
    A `redis.Redis` over a `SafePool`. Interrupted, it connects anew by itself.

    redis-py counts what it does for OpenTelemetry, wanted or not, and swallows what strikes meanwhile.
    """

    connection_pool: SafePool
    connection: Any

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> redis.client.Pipeline:  # noqa: FBT001, FBT002 -- as above
        """Make a pipeline."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def pubsub(self, **options: Any) -> redis.client.PubSub:
        """Make a subscription."""
        return _PubSub(self.connection_pool, **options)

    def close(self) -> None:
        """Give the client's connections back."""
        heard(super().close)

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command and read its reply; a client with a single connection has no pool to look after it."""
        if self.connection is None:
            return heard(super().execute_command, *arguments, **options)
        try:
            return heard(super().execute_command, *arguments, **options)
        except RedisError:
            raise
        except BaseException:
            if self.connection is not None:
                self.connection.disconnect()
            raise
