"""SQLite, which has no server."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from tests.drivers.rows import Row
from tests.matrix.families.family import OF_REDIS, TRANSPORTS, Family, Leftover, finds, sql, works


class SQLiteFamily(Family):
    name = "sqlite"
    leftovers: ClassVar = {
        "an open transaction": Leftover(
            sql("INSERT INTO car VALUES ('left')"), lambda row, db: row.client(db).in_transaction, always_goes=True
        ),
        "a half-read reply": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 1)[0] != row.ask(db, 1)[1], always_goes=True
        ),
        "SET autocommit": Leftover(
            lambda row, db: setattr(row.client(db), "isolation_level", None),
            lambda row, db: row.client(db).isolation_level is None,
            always_goes=True,
        ),
        "a session variable": Leftover(sql("PRAGMA cache_size = 77"), finds("PRAGMA cache_size", 77)),
        "a temporary table": Leftover(
            sql("CREATE TEMPORARY TABLE temp (n INT)"), works("SELECT * FROM temp.temp LIMIT 1")
        ),
        "another database": Leftover(
            lambda row, db: row.client(db).execute("ATTACH ':memory:' AS other"),
            works("SELECT * FROM other.sqlite_master"),
        ),
    }
    impossible: ClassVar = {
        **dict.fromkeys(TRANSPORTS[1:], "SQLite is a file, not a server: there is one way to it"),
        "orphan": "SQLite has no session",
        "liveness": "SQLite has no server that could go",
        "same session": "SQLite has no session",
        "no descriptor": "closing SQLite's descriptor drops the parent's locks; the object is kept instead",
        "a snapshot by SELECT alone": "a read that was read to its end leaves none",
        **OF_REDIS,
        **dict.fromkeys(("a user lock", "a prepared statement", "LISTEN", "another search_path"), "SQLite has none"),
    }

    def __init__(self) -> None:
        self._go, self._waits = threading.Event(), threading.Event()
        self.path = Path()

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """Nor to stop."""

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def relay(self, transport: str, folder: Path) -> Any:
        return nullcontext()

    def url(self, row: Row, transport: str, relay: Any, folder: Path, **query: str) -> str:
        return f"{row.scheme}:///{folder}/cars.db?{urlencode({**row.plain, **query})}"

    def is_committed(self, value: str) -> bool:
        return True  # `is_intact` of the next state reads it

    def hold(self) -> None:
        self._go.clear()
        self._waits.clear()

    def is_blocked(self) -> bool:
        return self._waits.is_set()

    def _wait(self) -> int:
        self._waits.set()
        return 5 if self._go.wait(60) else 0

    def release(self) -> None:
        self._go.set()

    def begin(self, row: Row, db: Any, value: str, outside: Any) -> Any:
        row.client(db).create_function("wait", 0, self._wait)
        row.write(db, value)

    def block(self, row: Row, db: Any) -> bool:
        return row.run(db, "SELECT wait()") == [(5,)]
