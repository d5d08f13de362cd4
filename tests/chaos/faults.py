"""What the chaos suite does to servers, networks and workers. Each fault heals itself; which one comes is drawn."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg
import pymysql

from examples.servers import MariaDB, PostgreSQL, Redis
from tests.chaos.toxic import Toxic
from tests.guard.rabbitmq import RabbitMQ
from tests.support.disk import Disk

__all__ = ["WAITS_FOR_ROOM", "Place", "Victim", "inject"]


class Victim(Protocol):
    """A worker that is kept running by a supervisor."""

    pid: int

    def children(self) -> list[int]:
        """Give the ids of its child processes."""


@dataclass
class Place:
    """
    What can be harmed.

    Attributes:
        database: The database server.
        toxic: The proxy in front of it, over which the worker connects.
        broker: The broker.
        worker: The worker that runs at the moment.
        clock: File that libfaketime reads in the worker; None where it is not installed.
        disk: What the database server has its data on; None where no small one can be mounted.
    """

    database: MariaDB | PostgreSQL
    toxic: Toxic
    broker: Redis | RabbitMQ
    worker: Callable[[], Victim]
    clock: Any = None
    disk: Disk | None = None
    rng: random.Random = field(default_factory=random.Random)

    @property
    def plain(self) -> dict[str, Any]:
        """Arguments without which PyMySQL takes 25 ms to connect."""
        return {"ssl_disabled": True} if isinstance(self.database, MariaDB) else {}

    # -- faults ----------------------------------------------------------------------------------------------

    def kill_child(self) -> None:
        """SIGKILL for one of the worker's processes."""
        if children := self.worker().children():
            _kill(self.rng.choice(children))

    def kill_worker(self) -> None:
        """SIGKILL for the worker itself; its supervisor starts another one."""
        _kill(self.worker().pid)

    def crash_database(self) -> None:
        """SIGKILL for the database server, which is started again after a while."""
        self.database.kill9()
        time.sleep(self.rng.random())
        self.database.start()

    def freeze_database(self) -> None:
        """SIGSTOP for the database server, for three seconds."""
        self.database.pause()
        time.sleep(3)
        self.database.resume()

    def kill_session(self) -> None:
        """End one session by the server's own command."""
        with contextlib.suppress(pymysql.MySQLError, psycopg.Error):
            if sessions := self.database.sessions("shop"):
                self.database.kill_session(self.rng.choice(sessions).id)

    def cut(self) -> None:
        """FIN for every connection to the database."""
        self.toxic.cut("FIN")

    def reset(self) -> None:
        """RST for every connection to the database."""
        self.toxic.cut("RST")

    def delay(self) -> None:
        """Nothing passes for a second; then all of it does."""
        self.toxic.freeze()
        time.sleep(1)
        self.toxic.thaw()

    def black_hole(self) -> None:
        """What is sent over the connections of now is lost, and nobody is told; new ones work."""
        self.toxic.swallow()

    def truncate(self) -> None:
        """The next answer over each connection ends in its middle."""
        self.toxic.truncate()

    def fill_up(self) -> None:
        """`max_connections` are in use, for a second and a half."""
        taken: list[Any] = []
        errors = (pymysql.MySQLError, psycopg.Error)
        with contextlib.suppress(*errors):
            while True:
                taken.append(self.database.connect("shop", **self.plain))
        time.sleep(1.5)
        for connection in taken:
            with contextlib.suppress(*errors):
                connection.close()

    def fill_disk(self) -> None:
        """The database server's disk is full for three seconds; every other time PostgreSQL can't write its log."""
        assert self.disk is not None
        self.disk.fill()
        if self.rng.random() < 0.5:
            self.end_log_segment()
        time.sleep(3)
        self.disk.free()
        self.go_on()

    def end_log_segment(self) -> None:
        """Have PostgreSQL begin another file of its log: on a full disk it gives up (PANIC), and ends."""
        if isinstance(self.database, PostgreSQL):
            with contextlib.suppress(psycopg.Error):
                self.database.query("SELECT pg_switch_wal()")
                self.database.query("SELECT pg_logical_emit_message(true, 'chaos', 'anything')")

    def go_on(self) -> None:
        """After room was made: wake what looks for it once a minute only (MariaDB), start what has ended."""
        if isinstance(self.database, MariaDB):
            self._wake_those_who_wait_for_room()
            return
        while self.database.is_running() and not self.database.is_answering():
            time.sleep(0.05)
        self.database.start()

    def _wake_those_who_wait_for_room(self) -> None:
        for _ in range(50):  # there may be no connection left at first
            with contextlib.suppress(pymysql.MySQLError):
                for row in self.database.query("SHOW PROCESSLIST"):
                    if row[6] == WAITS_FOR_ROOM:
                        self.database.kill_session(row[0])
                return
            time.sleep(0.1)

    def crash_broker(self) -> None:
        """SIGKILL for the broker, which is started again after a while."""
        self.broker.kill9()
        time.sleep(self.rng.random())
        self.broker.start()

    def jump(self) -> None:
        """The worker's wall clock jumps an hour ahead, and back after three seconds; it looks once a second."""
        self.clock.write_text("+3600")
        time.sleep(3)
        self.clock.write_text("+0")

    def kinds(self) -> list[Callable[[Place], None]]:
        """List the faults that this machine can do."""
        impossible = {Place.jump: self.clock is None, Place.fill_disk: self.disk is None}
        return [fault for fault in _WEIGHTS if not impossible.get(fault)]

    def heal(self) -> None:
        """Undo whatever was left."""
        if self.disk is not None:
            self.disk.free()
        for server in (self.database, self.broker):
            if server.is_running():
                server.resume()
            else:
                server.start()
        self.toxic.thaw()
        self.toxic.bury(0)


#: State of a session of MariaDB's that has found the disk full; it looks again after a minute.
WAITS_FOR_ROOM = "Waiting for someone to free space"

#: So long after a client was lost in a black hole the server notices, in seconds: its keepalive is set to that.
_KEEPALIVE_S = 4.0

#: Fault -> how often it comes, against the others.
_WEIGHTS: dict[Callable[[Place], None], int] = {
    Place.kill_child: 6,
    Place.kill_worker: 1,
    Place.crash_database: 2,
    Place.freeze_database: 1,
    Place.kill_session: 5,
    Place.cut: 3,
    Place.reset: 3,
    Place.delay: 2,
    Place.black_hole: 2,
    Place.truncate: 4,
    Place.fill_up: 1,
    Place.fill_disk: 1,
    Place.crash_broker: 1,
    Place.jump: 1,
}


def inject(place: Place, seed: int, until: float) -> Counter[str]:
    """
    Do harm to *place*, and heal it.

    Call it in the main thread: what a thread has started dies with that thread.

    Args:
        place: What is harmed.
        seed: Says which faults come, and when.
        until: Monotonic time, in seconds, until which to go on; each kind comes once, however long that takes.

    Returns:
        Fault -> how often it was done.
    """
    rng = place.rng
    rng.seed(seed)
    injected: Counter[str] = Counter()
    kinds = place.kinds()
    planned = rng.sample(kinds, len(kinds))
    try:
        while planned or time.monotonic() < until:
            ends_at = time.monotonic() + rng.uniform(0.2, 1.0)
            while time.monotonic() < ends_at:
                place.worker()  # its supervisor looks
                place.toxic.bury(_KEEPALIVE_S)
                time.sleep(0.05)
            fault = planned.pop() if planned else rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
            fault(place)
            injected[fault.__name__] += 1
    finally:
        place.heal()
    return injected


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
