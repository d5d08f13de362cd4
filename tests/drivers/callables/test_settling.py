"""Clients without a driver: how they are settled and closed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from taskconn import lease
from taskconn.errors import CommitOutcomeUnknownError
from tests.drivers.callables.lines import Line, TransactionalLine
from tests.support.core import task_system
from tests.support.limits import SoftTimeLimitExceeded


def test_client_without_transactions_is_not_settled(aliases: Callable[..., Any]) -> None:
    """Nothing is called that the client does not have."""
    with lease(aliases()) as db:
        db.say("hello")

    assert db.said == ["hello"]


@pytest.mark.parametrize(("fails", "end"), [(False, "commit"), (True, "rollback")], ids=["returns", "raises"])
def test_client_with_transactions_is_settled(aliases: Callable[..., Any], end: str, *, fails: bool) -> None:
    """One with `commit` and `rollback` is settled after every lease, for nobody can tell whether anything was sent."""
    with contextlib.suppress(ZeroDivisionError), lease(aliases(TransactionalLine)) as db:
        db.say(str(1 / (not fails)))

    assert db.said[-1:] == [end]


class IntegrityError(Exception):
    """The name that PEP 249 has for a server's refusal."""


@pytest.mark.parametrize(
    ("error", "seen"),
    [(ConnectionResetError, CommitOutcomeUnknownError), (IntegrityError, IntegrityError)],
    ids=["lost", "refused"],
)
def test_client_that_hangs_up_in_commit(
    aliases: Callable[..., Any], error: type[Exception], seen: type[Exception]
) -> None:
    """Many clients close their socket when the server has gone: the outcome is unknown, unless the server refused."""

    class Hasty(TransactionalLine):
        def commit(self) -> None:
            self.socket.close()
            raise error

    with pytest.raises(seen), lease(aliases(Hasty)):
        pass


def test_limit_that_leaves_a_task_costs_the_client(aliases: Callable[..., Any]) -> None:
    """Nobody knows whether it struck in the middle of a reply: the client is closed, the next lease opens one."""
    handle = aliases(TransactionalLine)
    with task_system(SoftTimeLimitExceeded), pytest.raises(SoftTimeLimitExceeded), lease(handle) as db:
        raise SoftTimeLimitExceeded

    assert db.said == ["close"]
    with lease(handle) as new:
        assert new is not db


def test_close_option_wins_over_the_method(aliases: Callable[..., Any]) -> None:
    """`close=` is called with the client instead of its own `close()`."""

    def goodbye(client: Line) -> None:
        client.say("goodbye")
        client.socket.close()

    handle = aliases(close=goodbye, max_age=0)
    with lease(handle) as db:
        pass
    with lease(handle):
        pass

    assert db.said == ["goodbye"]
