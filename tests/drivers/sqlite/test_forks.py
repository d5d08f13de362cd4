"""SQLite: a child leaves its parent's journal alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process import Script

pytestmark = pytest.mark.portable

_SPILLED = """
import gc, os, sys
from taskconn.drivers.sqlite import SQLite
from tests.drivers.rows import target_of

driver = SQLite()
db = driver.open(target_of(sys.argv[1]), 5)
db.execute("CREATE TABLE car (name TEXT)")
db.executemany("INSERT INTO car VALUES (?)", [("old" * 900,)] * 150)
driver.commit(db, 5)
db.execute("PRAGMA cache_size=5")
db.execute("UPDATE car SET name = 'new'")
cursor = db.execute("SELECT * FROM car")
if os.fork() == 0:
    if sys.argv[2] == "discarded":
        driver.discard(db)
    del db, cursor, driver
    gc.collect()
    sys.exit()
assert os.wait()[1] == 0
driver.commit(db, 5)
print(db.execute("SELECT COUNT(*) FROM car WHERE name = 'new'").fetchone()[0])
"""


@pytest.mark.parametrize("hook", ["discarded", "no hook"])
def test_childs_garbage_leaves_the_parents_journal(path: Path, script: Callable[..., Script], hook: str) -> None:
    """Collecting an inherited connection would delete the journal of half a transaction; it is never collected."""
    assert script(_SPILLED, f"sqlite:///{path}?journal_mode=DELETE", hook).succeed() == "150\n"
