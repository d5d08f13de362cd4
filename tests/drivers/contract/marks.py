"""Which rows a claim of the contract is about, and where it can be tested."""

from __future__ import annotations

import socket

import pytest

from tests.drivers.rows import ROWS

on_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the servers have no Windows build")

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
with_server = pytest.mark.parametrize("row", [row for row in ROWS.values() if row.has_server], ids=lambda row: row.name)
transactional = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.driver.transactional], ids=lambda row: row.name
)
