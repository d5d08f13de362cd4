"""Clients without a driver: how they are named, opened and checked."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from taskconn import Registry, lease
from taskconn.errors import ConnectionFailedError, InvalidSettingsError
from tests.drivers.callables.lines import Line
from tests.support.core import task_system
from tests.support.limits import SoftTimeLimitExceeded


def test_callable_is_a_whole_setting(aliases: Callable[..., Any]) -> None:
    """Nothing but `connect` is needed; the task gets what it gave, the same in the next lease."""
    handle = aliases()
    with lease(handle) as db:
        db.say("hello")
    with lease(handle) as again:
        assert (again is db, again.said) == (True, ["hello"])


def test_url_is_handed_to_the_callable(aliases: Callable[..., Any]) -> None:
    """With the password, as it was before taskconn took it apart; its scheme need be no driver's."""
    with lease(aliases(url="exotic://app:s%2Fcret@db:99/shop?mode=fast")) as db:
        assert db.url == "exotic://app:s%2Fcret@db:99/shop?mode=fast"


def test_clients_error_that_repeats_its_url_is_not_shown(aliases: Callable[..., Any]) -> None:
    """Many clients name the URL that they can't use: a traceback shows it without what is secret."""

    def connect(url: str, **_: object) -> None:
        raise ValueError(f"{url} is not for me")

    handle = aliases(connect, url="exotic://app:s%2Fcret@db:99/shop?mode=fast&api_key=s3cret")

    with pytest.raises(ConnectionFailedError, match="server is up and reachable") as caught:
        lease(handle).__enter__()

    assert "ValueError: exotic://app:***@db:99/shop?mode=fast&api_key=*** is not for me" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert [secret for secret in ("s%2Fcret", "s/cret", "s3cret") if secret in shown] == []


def test_callable_may_be_named(aliases: Callable[..., Any]) -> None:
    """`module:attribute` is imported when it is needed: settings can be sent to a spawned process."""
    with lease(aliases("tests.drivers.callables.lines:Line")) as db:
        assert type(db).__name__ == "Line"


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"connect": "no_such_module:connect"}, r"connect='no_such_module:connect' can't be imported"),
        ({"connect": Line, "check": "tests.drivers.callables.lines:nothing"}, r"check=.* can't be imported"),
        ({"connect": Line, "close": "tests.drivers.callables.lines:__name__"}, r"close=.* is not callable"),
        ({"url": "connect://db"}, r"Write \{'connect': function\}"),
    ],
    ids=["no module", "no attribute", "no function", "no callable"],
)
def test_wrong_names_stop_a_worker(options: dict[str, Any], remedy: str) -> None:
    """What is named is imported when a worker checks its settings."""
    registry = Registry()
    registry.add("line", options)

    with pytest.raises(InvalidSettingsError, match=remedy):
        registry.check()


def test_failing_callable_is_a_failed_connection(aliases: Callable[..., Any]) -> None:
    """Whatever the client raises is a connection that could not be had, with the client's words."""

    def connect(**_: Any) -> Any:
        raise LookupError("no such host")

    with pytest.raises(ConnectionFailedError, match="LookupError: no such host"), lease(aliases(connect)):
        pass


def test_limit_while_connecting_is_no_failed_connection(aliases: Callable[..., Any]) -> None:
    """A time limit reaches the task as what it is."""

    def connect(**_: Any) -> Any:
        raise SoftTimeLimitExceeded

    with task_system(SoftTimeLimitExceeded), pytest.raises(SoftTimeLimitExceeded), lease(aliases(connect)):
        pass


def test_check_false_at_open_is_a_failed_connection(aliases: Callable[..., Any]) -> None:
    """A client that connects later is made to connect by `check`, and refused if it can't."""
    with pytest.raises(ConnectionFailedError, match="said False"), lease(aliases(check=lambda _: False)):
        pass
