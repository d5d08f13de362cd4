"""What a server's error means is told by its number, its SQLSTATE or its words."""

from __future__ import annotations

import pytest

from taskconn._server_errors import is_login_refused, is_read_only

pytestmark = pytest.mark.portable


class Error(Exception):
    """An error as client libraries make them."""

    def __init__(self, *args: object, **attributes: object) -> None:
        super().__init__(*args)
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Error(1045, "Access denied for user 'app'@'localhost'"), id="number first"),
        pytest.param(Error("Access denied", errno=1045), id="errno"),
        pytest.param(Error("no", pgcode="28P01"), id="pgcode"),
        pytest.param(Error("no", sqlstate="28000"), id="sqlstate"),
        pytest.param(Error('FATAL:  password authentication failed for user "app"'), id="libpq"),
        pytest.param(Error("WRONGPASS invalid username-password pair or user is disabled."), id="redis"),
        pytest.param(Error("wrapped", orig=Error(1045, "Access denied")), id="within SQLAlchemy's"),
    ],
)
def test_refused_login_is_known(error: Exception) -> None:
    """A refused user or password is told from a server that can't be reached."""
    assert is_login_refused(error)
    assert not is_read_only(error)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Error(1290, "The MySQL server is running with the --read-only option"), id="MySQL"),
        pytest.param(Error(1836, "Running in read-only mode"), id="MySQL, read-only mode"),
        pytest.param(Error("cannot execute INSERT in a read-only transaction", sqlstate="25006"), id="PostgreSQL"),
        pytest.param(Error("READONLY You can't write against a read only replica."), id="redis"),
        pytest.param(Error("wrapped", orig=Error("no", pgcode="25006")), id="within SQLAlchemy's"),
    ],
)
def test_server_that_takes_no_writes_is_known(error: Exception) -> None:
    """A primary that has become a replica is told from other refusals."""
    assert is_read_only(error)
    assert not is_login_refused(error)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Error(2003, "Can't connect to MySQL server"), id="not reachable"),
        pytest.param(Error(1290, "running with the --secure-file-priv option"), id="another option"),
        pytest.param(Error(), id="without words"),
        pytest.param(Error("no", sqlstate="57P03"), id="starting up"),
    ],
)
def test_other_errors_are_neither(error: Exception) -> None:
    """What is neither is not taken for it."""
    assert not is_login_refused(error)
    assert not is_read_only(error)
