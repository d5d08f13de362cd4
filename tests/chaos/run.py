"""One run of the chaos suite: a load of transfers, faults, and the verdict that is read back from the database."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from examples.servers import MariaDB, PostgreSQL, Redis
from tests.chaos import faults, work
from tests.chaos.systems import HARD_S, SYSTEMS, System
from tests.chaos.toxic import Toxic
from tests.chaos.work import Transfer
from tests.guard.rabbitmq import RabbitMQ

__all__ = ["FAKETIME", "Verdict", "run"]

#: A transfer that has not ended so long after it was sent is taken for lost, and sent again, in seconds.
_LOST_S = 2.0 * HARD_S

#: Transfers that are sent before earlier ones have ended.
_IN_FLIGHT = 24
_AT_LEISURE = 8

#: Longest wait for the rest after the faults, in seconds; only a hang reaches it.
_REST_S = 180.0

#: Whose errors a failed attempt may carry: "(no answer)" was never answered, for nobody was there to.
_NAMED = (
    *("taskconn.errors.", "pymysql.err.OperationalError", "psycopg.", "redis.exceptions.", "rq.timeouts."),
    *(
        "billiard.exceptions.",
        "celery.exceptions.",
        "Work-horse terminated",
        "Moved to FailedJobRegistry",
        "(no answer)",
    ),
)

#: libfaketime, where Debian puts it.
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

#: Options of the alias: short, as for a service that is to recover in seconds.
_OPTIONS = (
    "connect_timeout=2&health_check_interval=1&reconnect_spread=1&settle_timeout=2&acquire_timeout=10&connect_retry=2"
)

#: Asks the server to sleep for longer than the soft limit, and how clients without limits bound a statement.
_BY_SERVER = {
    "mysql": ("SELECT SLEEP(4)", "&read_timeout=6"),
    "postgresql": ("SELECT pg_sleep(4)", "&tcp_user_timeout=6000"),
}


@dataclass
class Verdict:
    """
    Say what became of a run.

    Attributes:
        system: Worker.
        database: Server.
        seed: Seed of load and faults.
        transfers: How many were to be done.
        executed: How often one was sent.
        lost, doubled: Transfers whose effect is not there, or is there more than once.
        wrong: Accounts whose balance is not what the transfers make it.
        sum_is_right: The money is all there.
        left: Sessions of the application on the server after the worker has ended.
        descriptors: Most descriptors that one of the worker's processes holds at the end.
        slowest_s: Longest time from a send to its end, where it was not lost.
        failures: Name of a failed attempt's error -> how often.
        faults: Fault -> how often.
        starts: Workers that were started.
        took_s: Duration of the run.
    """

    system: str
    database: str
    seed: int
    transfers: int
    executed: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    sum_is_right: bool = True
    left: int = 0
    descriptors: int = 0
    slowest_s: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    took_s: float = 0.0

    @property
    def nameless(self) -> list[str]:
        """List the failures that are neither a named error of taskconn's, nor the library's, nor the task system's."""
        return sorted(name for name in self.failures if not name.startswith(_NAMED))

    @property
    def is_sound(self) -> bool:
        """Is every transfer's effect there exactly once, and the sum right?"""
        return not (self.lost or self.doubled or self.wrong) and self.sum_is_right


def run(
    system_name: str,
    server_name: str,
    seed: int,
    *,
    number: int,
    faults_s: float,
    by_hand: bool = False,
    dies: str = "",
) -> Verdict:
    """
    Have a worker do *number* transfers while faults are injected for *faults_s* seconds at least.

    Args:
        system_name: One of `SYSTEMS`.
        server_name: ``"mysql"`` or ``"postgresql"``.
        seed: Of load and faults.
        number: Transfers.
        faults_s: Seconds of faults, in which each kind comes at least once; 0 is none at all.
        by_hand: Use the connection that is written by hand: the control.
        dies: Id of a transfer whose process is killed after its commit, and before it can say so (Celery).
    """
    started = time.monotonic()
    verdict = Verdict(system_name, server_name, seed, number)
    load = work.transfers(seed, number)
    with _stage(system_name, server_name, by_hand=by_hand, dies=dies) as (system, place):
        sender = _Sender(system, load, verdict)
        sender.start()
        if faults_s:
            verdict.faults = faults.inject(place, seed, time.monotonic() + faults_s)
        sender.finish()
        verdict.descriptors = _descriptors(system)
        verdict.starts = system.starts
        system.end()
        _judge(place, load, verdict)
    verdict.took_s = time.monotonic() - started
    return verdict


#: Servers that are soon full, and keep what they have committed when they are killed.
_SERVERS: dict[str, Callable[[], MariaDB | PostgreSQL]] = {
    "mysql": lambda: MariaDB(options=["--max-connections=40"]),
    "postgresql": lambda: PostgreSQL(settings={"max_connections": "40", "synchronous_commit": "on"}),
}


@contextmanager
def _stage(system_name: str, server_name: str, *, by_hand: bool, dies: str) -> Iterator[tuple[System, faults.Place]]:
    sleep, bound = _BY_SERVER[server_name]
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = stack.enter_context(_SERVERS[server_name]())
        broker: Redis | RabbitMQ = stack.enter_context(Redis(options=durable))
        results, kind = broker, SYSTEMS[system_name]
        database.query("CREATE DATABASE shop")
        for statement in work.SCHEMA:
            database.query(statement, database="shop")
        toxic = stack.enter_context(Toxic((database.host, database.port)))
        url = urlsplit(database.url("shop"))
        scheme = "mysql+pymysql" if server_name == "mysql" else "postgresql+psycopg"
        netloc = f"{url.username}:{url.password}@127.0.0.1:{toxic.port}"
        plain = url._replace(scheme=scheme, netloc=netloc).geturl()
        environ = {
            "CHAOS_FOLDER": str(folder),
            "CHAOS_SLEEP": sleep,
            "CHAOS_URL": plain if by_hand else f"{plain}?{_OPTIONS}{bound}",
        }
        clock = folder / "clock" if FAKETIME else None
        if clock is not None:
            clock.write_text("+0")
            environ |= {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock)}
            environ |= {"FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        if dies:
            (folder / f"die-{dies}").touch()
        if kind.has_rabbitmq:
            broker = stack.enter_context(RabbitMQ())
            environ["CHAOS_BROKER"] = broker.url()
        _make_ledger(database)
        system = kind(results, environ, folder, "transfer_by_hand" if by_hand else "transfer")
        stack.callback(system.end)
        system.worker()
        yield system, faults.Place(database, toxic, broker, system.worker, clock)


def _make_ledger(database: MariaDB | PostgreSQL) -> None:
    """Make the table as `taskconn ledger create` does."""
    from taskconn import _ledger

    dialect = "mysql" if isinstance(database, MariaDB) else "postgresql"
    for statement in _ledger.statements(dialect, "default"):
        database.query(statement, database="shop")


class _Sender(threading.Thread):
    """Send what is to be done, again whatever failed or was lost, until all is done."""

    def __init__(self, system: System, load: list[Transfer], verdict: Verdict) -> None:
        super().__init__(name="sender", daemon=True)
        self._system, self._verdict = system, verdict
        self._waiting = list(reversed(load))
        self._sent_at: dict[Transfer, float] = {}
        self._hurries = threading.Event()
        self._gives_up = threading.Event()
        self._error: BaseException | None = None

    def finish(self) -> None:
        """Send the rest, without faults, and wait for its end."""
        self._hurries.set()
        ends_at = time.monotonic() + _REST_S
        while self.is_alive() and time.monotonic() < ends_at:
            self._system.worker()
            self.join(0.05)
        self._gives_up.set()
        self.join(30)
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        try:
            while (self._waiting or self._sent_at) and not self._gives_up.wait(0.02):
                # Without haste one at a time, so that the load lasts for as long as the faults do.
                if self._waiting and len(self._sent_at) < (_IN_FLIGHT if self._hurries.is_set() else _AT_LEISURE):
                    self._send(self._waiting.pop())
                elif not self._waiting and not self._hurries.is_set() and not self._sent_at:
                    return
                for transfer in list(self._sent_at):
                    self._look(transfer)
        except BaseException as error:  # noqa: BLE001 -- told in `finish`
            self._error = error

    def _look(self, transfer: Transfer) -> None:
        outcome, waited_s = self._system.outcome(transfer), time.monotonic() - self._sent_at[transfer]
        if outcome == "done":
            self._verdict.slowest_s = max(self._verdict.slowest_s, waited_s)
            del self._sent_at[transfer]
        elif outcome or waited_s > _LOST_S:
            self._verdict.failures[outcome or "(no answer)"] += 1
            self._send(transfer)

    def _send(self, transfer: Transfer) -> None:
        self._verdict.executed += 1
        self._system.send(transfer)
        self._sent_at[transfer] = time.monotonic()


def _judge(place: faults.Place, load: list[Transfer], verdict: Verdict) -> None:
    database = place.database
    counts: dict[str, int] = dict(database.query("SELECT id, COUNT(*) FROM transfer GROUP BY id", database="shop"))
    balances: dict[int, int] = dict(database.query("SELECT id, balance FROM account", database="shop"))
    verdict.lost = [transfer.id for transfer in load if not counts.get(transfer.id)]
    verdict.doubled = [key for key, count in counts.items() if count > 1]
    right = dict.fromkeys(range(work.ACCOUNTS), work.BALANCE)
    for transfer in load:
        right[transfer.source] -= transfer.amount
        right[transfer.target] += transfer.amount
    verdict.wrong = [account for account, balance in right.items() if balances[account] != balance]
    verdict.sum_is_right = sum(balances.values()) == work.ACCOUNTS * work.BALANCE
    ends_at = time.monotonic() + 10
    while (left := len(database.sessions("shop"))) and time.monotonic() < ends_at:
        time.sleep(0.1)
    verdict.left = left


def _descriptors(system: System) -> int:
    """Count the descriptors of the worker's processes: those of the one that has most."""
    found = 0
    for pid in (system.worker().pid, *system.worker().children()):
        with contextlib.suppress(psutil.Error):
            found = max(found, psutil.Process(pid).num_fds())
    return found
