"""A server whose disk is full: tasks end by their limits, with named errors; once there is room, all goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

import taskconn
from examples.servers import MariaDB
from taskconn._interrupts import add_interrupts
from tests.chaos import work
from tests.chaos.faults import WAITS_FOR_ROOM, Place
from tests.chaos.run import Verdict, judge
from tests.chaos.stage import database_on, stage
from tests.chaos.systems import HARD_S, System
from tests.chaos.work import Transfer
from tests.support.disk import Disk, why_there_is_none

pytestmark = pytest.mark.skipif(
    bool(why_there_is_none()), reason=f"a full disk: no small one can be mounted here: {why_there_is_none()}"
)

#: Longest time from sending a task to its end, in seconds: the hard limit, and what a busy machine needs beside it.
_ENDS_IN_S = HARD_S + 4.0

#: Longest wait for what happens at once, in seconds.
_PATIENCE_S = 30.0

#: MariaDB looks once a minute whether there is room again. In `make chaos` that is waited for, else it is told.
_IS_PATIENT = os.environ.get("CHAOS") == "full"

#: What ends a task, by server, while the disk is full.
_FULL = {
    "mysql": "taskconn.errors.CommitOutcomeUnknownError",  # it waits, with the commits in a queue
    "postgresql": "psycopg.errors.DiskFull",
}

_PAIRS = [("celery prefork", "mysql"), ("rq WarmWorker", "postgresql")]
if os.environ.get("CHAOS") == "full":
    _PAIRS += [("rq WarmWorker", "mysql"), ("celery prefork", "postgresql"), ("celery gevent", "mysql")]


class Shift:
    """A worker that does transfers over a server on a small disk."""

    def __init__(self, system: System, place: Place, verdict: Verdict) -> None:
        assert place.disk is not None
        self.system, self.place, self.verdict, self.disk = system, place, verdict, place.disk

    def ends(self, load: list[Transfer]) -> set[str]:
        """Have *load* done, as many at once as the worker can; give what they ended with: each in time."""
        at_once = getattr(self.system, "concurrency", 1)
        waiting, sent_at, ends = list(load), dict[Transfer, float](), set[str]()
        while waiting or sent_at:
            while waiting and len(sent_at) < at_once:
                self.system.send(waiting[0])
                sent_at[waiting.pop(0)] = time.monotonic()
            for transfer, at in list(sent_at.items()):
                if outcome := self.system.outcome(transfer):
                    ends.add(outcome)
                    del sent_at[transfer]
                else:
                    assert time.monotonic() - at < _ENDS_IN_S, (transfer, self.system.output())
            time.sleep(0.01)
        self.verdict.failures.update(ends - {"done"})
        return ends

    def do(self, load: list[Transfer]) -> None:
        """Have all of *load* done, and what fails sent again."""
        ends_at = time.monotonic() + 90
        while self.ends(load) != {"done"}:
            assert _IS_PATIENT, self.verdict.failures
            assert time.monotonic() < ends_at, self.verdict.failures


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("system", "server"), _PAIRS)
def test_tasks_end_while_the_disk_is_full_and_go_on_afterwards(system: str, server: str) -> None:
    """None hangs, and none is lost or doubled: also a commit that waited for room, and came through when there was."""
    load = work.transfers(7, 40)
    verdict = Verdict(system, server, 7, len(load))
    with stage(system, server, is_slow=False) as (worker, place):
        shift = Shift(worker, place, verdict)
        shift.do(load[:6])

        ends = set[str]()
        for number in (6, 14, 22):  # a server may give something back after the disk was full
            shift.disk.fill()
            ends |= shift.ends(load[number : number + 8])
            if _FULL[server] in ends:
                break
        if server == "postgresql":  # can't write its log either, and ends
            place.end_log_segment()
            _until(lambda: not place.database.is_running())
            assert "done" not in shift.ends(load[30:34])
        shift.disk.free()
        if server == "postgresql" or not _IS_PATIENT:
            place.go_on()
        shift.do(load[6:])

        worker.end()
        judge(place, load, verdict)

    assert _FULL[server] in ends
    assert verdict.is_sound, verdict
    assert verdict.nameless == [], verdict
    assert verdict.left == 0, verdict


class _LimitReached(Exception):  # noqa: N818 -- as task systems name theirs
    """A soft limit."""


@pytest.fixture
def limit() -> Iterator[signal.Signals]:
    """Give a signal that raises `_LimitReached`."""
    add_interrupts((_LimitReached,))
    before = signal.signal(signal.SIGUSR1, _strike)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_statement_that_waits_for_room_is_ended_at_the_server(limit: signal.Signals) -> None:
    """MariaDB can't even list its sessions in a table; the one whose client was interrupted is found all the same."""
    registry = taskconn.Registry()
    with Disk(160) as disk, database_on(disk, "mysql") as server:
        assert isinstance(server, MariaDB)
        server.query("CREATE DATABASE shop")
        server.query("CREATE TABLE car (name VARCHAR(8000))", database="shop")
        handle = registry.add("default", server.url("shop"), transaction="none")
        disk.fill()

        def strike() -> None:
            _until(lambda: _waits_for_room(server))
            os.kill(os.getpid(), limit)

        striker = threading.Thread(target=strike)
        striker.start()
        with pytest.raises(_LimitReached), taskconn.lease(handle) as db:
            db.autocommit(True)
            while True:
                db.cursor().execute("INSERT INTO car VALUES (%s)", ("-" * 5000,))
        striker.join()
        _until(lambda: not _waits_for_room(server))

        disk.free()
        registry.close()


def _strike(*_: object) -> None:
    raise _LimitReached


def _waits_for_room(server: MariaDB) -> bool:
    return any(row[6] == WAITS_FOR_ROOM for row in server.query("SHOW PROCESSLIST"))


def _until(happens: object) -> None:
    assert callable(happens)
    ends_at = time.monotonic() + _PATIENCE_S
    while not happens():
        assert time.monotonic() < ends_at
        time.sleep(0.01)
