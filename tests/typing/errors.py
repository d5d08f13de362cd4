"""The fields of an error have exact types, so that a handler can use them. Read by mypy and pyright, never run."""

from __future__ import annotations

from taskconn.errors import AcquireTimeoutError, InheritedConnectionError, TaskconnError


def who_used_it(error: InheritedConnectionError) -> int:
    same: TaskconnError = error
    raise_again: Exception = same
    print(raise_again)
    return error.owner_pid + error.pid


def how_long(error: AcquireTimeoutError) -> tuple[str, float]:
    return error.alias, error.waited_ms / 1000
