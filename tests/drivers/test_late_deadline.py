"""A time limit that passes as a call ends well leaves the next lease no connection whose socket is shut."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

import taskconn
from taskconn import _watchdog
from tests.drivers.rows import Row
from tests.matrix.rows import ROWS


def _pass_late(self: _watchdog.Deadline, *_: Any) -> None:
    """End the block as if the limit had passed in its last moment."""
    _watchdog.disarm(self)
    self.pass_()


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS.values() if row.has_server and not row.name.startswith("connect=")],
    ids=lambda row: row.name,
)
@pytest.mark.parametrize("reset", [False, True], ids=["kept", "reset"])
def test_next_lease_gets_an_open_connection(
    row: Row, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    """What was committed stays committed, and the next lease's first statement is answered."""
    registry = taskconn.Registry()
    url = row.url(request)
    if not url.startswith("sqlalchemy+"):
        url = urlsplit(url)._replace(scheme=row.scheme).geturl()
    handle = registry.add("orders", url, reset=reset)
    with taskconn.lease(handle) as db:
        row.prepare(db)

    with monkeypatch.context() as patched:
        with taskconn.lease(handle) as db:
            row.write(db, "Mini")
            patched.setattr(_watchdog.Deadline, "__exit__", _pass_late)
    with taskconn.lease(handle) as db:
        values = row.values(db)

    assert values == ["Mini"]
