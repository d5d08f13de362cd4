"""A connection that can't be opened takes no place, and its error tells no password."""

from __future__ import annotations

import pytest

from taskconn import _pace
from taskconn.errors import ConnectionFailedError
from tests.support.core import fake, use

pytestmark = pytest.mark.portable


def test_failed_open_leaves_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open that failed takes no place: the next one may try again."""
    monkeypatch.setattr(_pace, "_share", lambda: 0.0)  # without a pause
    app = fake(max_size=1)
    app.driver.is_refusing = True

    for _ in range(3):
        with pytest.raises(ConnectionFailedError, match="server is up and reachable") as caught:
            app.lease().begin(None)
    app.driver.is_refusing = False
    use(app)

    assert caught.value.reason == "the fake server refuses"
    assert (app.stats()["failed_opens"], app.stats()["opens"]) == (3, 1)


def test_password_is_not_in_the_error() -> None:
    """What the driver says of a failed open is repeated without the password."""
    app = fake(url="mysql://app:s3cret@db/shop")

    def refuse(*_: object) -> None:
        raise app.driver.errors[0]("Access denied for app, s3cret")  # type: ignore[index]

    app.driver.open = refuse  # type: ignore[method-assign,assignment]

    with pytest.raises(ConnectionFailedError, match=r"Access denied for app, \*\*\*"):
        use(app)
