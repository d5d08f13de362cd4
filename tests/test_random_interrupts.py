"""Interrupts at random moments of a unit of work, by real signals."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.process import ROOT

pytestmark = pytest.mark.portable

INTERRUPTS = """
import gc, random, signal, sys
import taskconn
from taskconn import _context, _shield
from taskconn.errors import OutcomeError
from tests.support.core import fake

seed, is_shielded = sys.argv[1:]
random.seed(int(seed))
gc.disable()  # what is lost comes back without it
if is_shielded == "no":
    _shield._SHIELDED = ()

class SoftLimit(Exception): pass

_context.register(lambda: None, interrupts=(SoftLimit,))
app = fake(max_size=1, acquire_timeout=0)
cache = app.beside("cache", max_size=1, acquire_timeout=0)
kinds = (KeyboardInterrupt, SystemExit, SoftLimit)

def strike(number, frame):
    raise random.choice(kinds)

signal.signal(signal.SIGALRM, strike)
calls = []
current = 0

def unit(number):
    with app.lease() as db:
        taskconn.after_commit(lambda: calls.append((number, current)))
        db.execute(f"INSERT {number}")
        with cache.lease() as other:
            other.execute(f"SET {number}")
        with app.lease():
            pass
        db.execute(f"UPDATE {number}")

@taskconn.with_db(app.handle)
def decorated(db, number):
    taskconn.after_commit(lambda: calls.append((number, current)))
    db.execute(f"INSERT {number}")
    db.execute(f"UPDATE {number}")

struck = done = 0
for current in range(3000):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-6, 3e-4))
        (unit if current % 2 else decorated)(current)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except (*kinds, OutcomeError):
        struck += 1
    else:
        done += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)

inserted = [statement.split()[1] for db in app.opened for statement in db.committed]
halves = [number for number in set(inserted) if inserted.count(number) != 2]
assert not halves, f"half a unit of work was committed: {halves}"
assert all(number == at for number, at in calls), "a callback ran in a later unit of work"
with app.lease() as db, cache.lease():
    db.execute("AFTER")
for one in (app, cache):
    assert one.stats()["leased"] == 0, one.stats()
    assert one.stats()["open"] == 1, one.stats()
assert struck > 50 and done > 50, (struck, done)
print("struck", struck, "done", done, app.stats())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timers")
@pytest.mark.parametrize("is_shielded", ["yes", "no"])
@pytest.mark.parametrize("seed", ["1", "2"])
def test_interrupts_at_random_moments_cost_the_pool_nothing(seed: str, is_shielded: str) -> None:
    """Real signals that raise anywhere lose no connection for good, commit no half, and leave no callback behind."""
    command = [sys.executable, "-c", INTERRUPTS, seed, is_shielded]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=90)

    assert done.returncode == 0, done.stderr
