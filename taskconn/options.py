"""The options of an alias: their names, defaults and units; config.py reads them, the pool and the drivers obey."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

__all__ = ["GuardMode", "Options", "shown"]

#: What the guard does about connections that would cross a fork; it is an option of the process, not of an alias.
GuardMode = Literal["off", "warn", "raise", "fence"]


class Options:
    """
    Say how connections of one alias are kept. All times are in seconds; None is "no limit".

    Attributes:
        max_age: Replace a connection that is older, when it is next taken.
        jitter: Part of `max_age` by which it is shortened at random, from 0 to 1: a fleet does not expire at once.
        max_idle: Replace a connection whose last statement is longer ago; a lease that sends none does not count.
        health_check_interval: A connection whose last statement is longer ago is asked for a round trip before a task
            gets it.
        connect_timeout: Longest wait for one try to connect, and for a health check.
        acquire_timeout: Longest wait for a connection where `max_size` are in use.
        settle_timeout: Longest wait for COMMIT or ROLLBACK.
        close_timeout: Longest wait for a polite goodbye.
        max_size: Most connections per process; None is the concurrency under threads, gevent and eventlet.
        warm: Open one connection when the worker process starts.
        transaction: ``"task"``: the lease commits or rolls back; ``"none"``: the task settles by itself.
        reset: Clear the session's state between tasks: True, or a callable that gets the connection.
        cancel: End an interrupted statement at the server.
        deadline: Give the server the task's remaining time.
        label: Name application, alias, host and pid where the server shows them.
        connect_retry: Further tries of a lease to connect after the first one failed, within `acquire_timeout`.
        reconnect_spread: Processes that have lost a server, and find it down, come back spread over so many seconds.
        max_connect_rate: Most connects per second, for each alias and process.
        leak_threshold: Report a lease that is held for longer.
        inject: What SQLAlchemy hands to the task: ``"session"`` (None too), ``"connection"`` or ``"engine"``.
        engine_args: Arguments of SQLAlchemy's `create_engine` by name, without those of its pool.
        connect, check, close: Callables for clients without a driver, or their names ``"module:attribute"``.
    """

    max_age: float | None = 1800.0
    jitter: float = 0.1
    max_idle: float | None = None
    health_check_interval: float = 30.0
    connect_timeout: float = 5.0
    acquire_timeout: float = 30.0
    settle_timeout: float = 30.0
    close_timeout: float = 1.0
    max_size: int | None = None
    warm: bool = False
    transaction: Literal["task", "none"] = "task"
    reset: bool | Callable[[Any], object] = False
    cancel: bool = True
    deadline: bool = False
    label: bool = True
    connect_retry: int = 0
    reconnect_spread: float = 5.0
    max_connect_rate: float | None = None
    leak_threshold: float | None = None
    inject: str | None = None
    engine_args: Mapping[str, Any] | None = None
    connect: Callable[..., Any] | str | None = None
    check: Callable[[Any], object] | str | None = None
    close: Callable[[Any], object] | str | None = None

    # No dataclass: that module, and what it writes and compiles here, would be a fifth of `import taskconn`.

    def __init__(self, **given: Any) -> None:
        for name in given:
            if name not in Options.__annotations__:
                raise TypeError(f"there is no option {name!r}")
        vars(self).update(given)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"option {name!r} can't be changed; make other Options")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and other.as_dict() == self.as_dict()

    __hash__ = None  # type: ignore[assignment]  # holds mappings

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={shown(value)}' for name, value in self.as_dict().items())})"

    def as_dict(self) -> dict[str, Any]:
        """Give every option's value by its name."""
        return {name: getattr(self, name) for name in Options.__annotations__}


def shown(value: object) -> str:
    """Write an option's value so that it shows no secret: of a mapping the names alone."""
    if isinstance(value, Mapping):
        return f"<{', '.join(map(str, value))}>"
    return "callable" if callable(value) else repr(value)
