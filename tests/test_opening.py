"""A connection that can't be opened is tried again as `connect_retry` says, and takes no place meanwhile."""

from __future__ import annotations

import pytest

from taskconn import _pace
from taskconn.driver import Target
from taskconn.errors import ConnectionFailedError
from taskconn.testing import FakeConnection, FakeDriver, FakeError
from tests.support.clocks import Stage
from tests.support.core import fake, refused, use

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


def test_no_secret_of_the_url_is_in_the_error() -> None:
    """Nor is what the URL's query or `connect_args` keep secret, nor a password as the URL has it."""
    app = fake(url="mysql://app:s%2Fcret@db/shop?token=t0ken&charset=utf8mb4", connect_args={"password2": "an0ther"})

    def refuse(target: Target, _: float) -> None:
        assert target.password == "s/cret"
        words = "mysql://app:s%2Fcret@db?token=t0ken&charset=utf8mb4 with s/cret and an0ther"
        raise app.driver.errors[0](words)  # type: ignore[index]

    app.driver.open = refuse  # type: ignore[method-assign,assignment]

    with pytest.raises(ConnectionFailedError, match="server is up and reachable") as caught:
        use(app)

    assert caught.value.reason == "mysql://app:***@db?token=***&charset=utf8mb4 with *** and ***"


def test_connect_retry_tries_again_within_acquire_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """``connect_retry`` tries follow the first one, after a pause each, in the same lease."""
    monkeypatch.setattr(_pace, "_share", lambda: 0.01)
    app = fake(connect_retry=3)
    driver = Stubborn(failures=3)
    app.driver.open = driver.open  # type: ignore[method-assign]

    with app.lease():
        pass

    assert driver.tries == 4
    assert app.stats()["opens"] == 1


def test_connect_retry_gives_up_after_its_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells the number of tries, and has the driver's own as its cause."""
    monkeypatch.setattr(_pace, "_share", lambda: 0.01)
    app = fake(connect_retry=2)
    app.driver.is_refusing = True

    error = refused(app)

    assert (error.tries, error.reason) == (3, "the fake server refuses")
    assert isinstance(error.__cause__, FakeError)
    assert app.stats()["failed_opens"] == 3


def test_connect_retry_ends_with_acquire_timeout(stage: Stage) -> None:
    """A pause that would end after ``acquire_timeout`` is not waited for."""
    app = fake(connect_retry=100, acquire_timeout=0.05)
    app.driver.is_refusing = True

    error = refused(app)

    assert error.tries == 1
    assert "the next is made in 0.1 s" in error.reason


class Stubborn:
    """A server that refuses so many times before it lets in."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries = 0
        self._fake = FakeDriver()

    def open(self, *arguments: object) -> FakeConnection:
        self.tries += 1
        if self.tries <= self.failures:
            raise FakeError("not yet")
        return FakeDriver.open(self._fake, *arguments)  # type: ignore[arg-type]
