"""What every driver claims: unknown arguments are refused, and no password is shown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from taskconn import errors
from taskconn.driver import Driver
from tests.drivers.contract.marks import every_row, on_unix, with_server
from tests.drivers.rows import Row, target_of

pytestmark = on_unix


@every_row
def test_unknown_argument_is_refused_with_the_nearest_name(row: Row, driver: Driver[Any], url: str) -> None:
    """A connect argument that the library does not have is refused before anything is opened."""
    target = target_of(url, query={row.misspelt: "1"})

    with pytest.raises(errors.UnknownOptionError, match=f"Did you mean '{row.meant}'") as caught:
        driver.validate(target)

    assert caught.value.option == row.misspelt
    assert row.meant in caught.value.known.split(", ")


@every_row
def test_unknown_object_is_refused_like_an_unknown_argument(row: Row, driver: Driver[Any], url: str) -> None:
    """`connect_args` are looked at as the URL's parameters are."""
    with pytest.raises(errors.UnknownOptionError, match=re.escape(repr(row.misspelt))):
        driver.validate(target_of(url, connect_args={row.misspelt: object()}))


@with_server
def test_password_shows_nowhere(driver: Driver[Any], url: str) -> None:
    """No repr and no message has the password, right or wrong."""
    connection = driver.open(target_of(url), 5)
    wrong = target_of(url, user="nobody", password="hunter2-wrong")

    with pytest.raises(driver.errors) as caught:
        driver.open(wrong, 5)

    shown = [repr(wrong), repr(caught.value), str(caught.value), repr(connection), repr(driver)]
    password = target_of(url).password
    assert not [text for text in shown if "hunter2" in text or (password and password in text)]
    driver.close(connection, 1)
