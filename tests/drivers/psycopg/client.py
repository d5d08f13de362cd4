"""The driver that the tests of psycopg 3 share."""

from __future__ import annotations

from taskconn.drivers.psycopg import Psycopg

driver = Psycopg()
