"""Settings that can't work: an error that names the alias and the server, without the password."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path
from typing import Any

import pytest

from taskconn import Registry
from taskconn._lease import Lease
from taskconn.errors import ConnectionFailedError, UnknownOptionError
from tests.drivers.rows import Row
from tests.matrix.families import Family
from tests.matrix.results import Results
from tests.matrix.rows import ROWS

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))

_PASSWORD = "hunter2-wrong"


def _said(error: BaseException) -> str:
    """Give all that a log would show of *error*, its causes included."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)


def _connect(row: Row, url: str) -> None:
    registry = Registry()
    with Lease(registry.add("orders", {"url": url, **row.options}), "a test"):
        pass
    registry.close()


def _refusal(row: Row, url: str) -> tuple[ConnectionFailedError, str]:
    registry = Registry()
    handle = registry.add("orders", {"url": url, **row.options}, connect_timeout=20)
    with pytest.raises(ConnectionFailedError) as caught, Lease(handle, "a test"):
        pass
    return caught.value, registry.pool("orders").target().address


@every_row
def test_unknown_parameter_is_refused_before_anything_is_opened(
    row: Row, family: Family, results: Results, tmp_path: Path
) -> None:
    """A worker that checks its settings does not start."""
    if not row.misspelt:
        reason = "the parameters of a callable's URL are its own"
        results.note_impossible(row.name, "Bad input", "unknown parameter", reason)
        pytest.skip(reason)
    with family.relay("TCP", tmp_path) as relay:
        registry = Registry()
        with pytest.raises(UnknownOptionError) as caught:
            registry.add("orders", family.url(row, "TCP", relay, tmp_path, **{row.misspelt: "1"}))
            registry.check()
        if row.has_server:
            assert relay.sent() == []

    assert "orders" in str(caught.value)
    assert row.misspelt in str(caught.value)
    assert "s3cret" not in _said(caught.value)
    results.note(row.name, "Bad input", passed=True)


@every_row
@pytest.mark.parametrize("what", ["wrong port", "wrong password", "no such database"])
def test_what_only_a_server_can_tell_names_alias_and_host(
    row: Row, family: Family, what: str, results: Results, tmp_path: Path
) -> None:
    """The first lease fails, and its error says whose connection it was, and to where."""
    reason = "SQLite has no server: a file is made where none is" if not row.has_server else ""
    if reason:
        results.note_impossible(row.name, "Bad input", what, reason)
        pytest.skip(reason)

    holds = False
    try:
        with family.relay("TCP", tmp_path) as relay:
            url = family.url(row, "TCP", relay, tmp_path)
            if what == "wrong port":
                with socket.create_server(("127.0.0.1", 0)) as taken:
                    url = url.replace(f":{relay.port}", f":{taken.getsockname()[1]}")
            elif what == "wrong password":
                url = family.with_password(url)
                _connect(row, url)
                url = url.replace(":s3cret@", f":{_PASSWORD}@")
            else:
                url = url.replace(f"/{family.missing[0]}", f"/{family.missing[1]}")
            error, address = _refusal(row, url)
        said = _said(error)
        holds = "orders" in str(error) and address in str(error) and not _words(said)
    finally:
        results.note(row.name, "Bad input", passed=holds)
    assert holds, said


def _words(text: str) -> set[Any]:
    return {secret for secret in (_PASSWORD, "s3cret") if secret in text}
