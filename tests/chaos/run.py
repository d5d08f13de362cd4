"""One run of the chaos suite: a load of transfers, faults, and the verdict that is read back from the database."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil

from tests.chaos import faults, work
from tests.chaos.stage import stage
from tests.chaos.systems import HARD_S, System
from tests.chaos.work import Transfer

__all__ = ["FEW_DESCRIPTORS", "Verdict", "judge", "run"]

#: Descriptors that no process of a worker comes near: one that leaks for each task would.
FEW_DESCRIPTORS = 150

#: A transfer that has not ended so long after it was sent is taken for lost, and sent again, in seconds.
_LOST_S = 2.0 * HARD_S

#: Transfers that are sent before earlier ones have ended: while there are faults, and after them.
_AT_LEISURE = 8
_IN_FLIGHT = 24

#: So long the faults last at the least, for each kind comes once, in seconds: the load is to last as long.
_FAULTS_LAST_S = 20.0

#: Pause before a failed transfer is sent again, in seconds.
_AGAIN_IN_S = 0.2

#: Longest wait for the rest after the faults, in seconds; only a hang reaches it.
_REST_S = 180.0

#: Longest wait for the server to end the sessions of dead processes, in seconds; MariaDB on a disk that was full looks
#: for room once a minute, and notices nothing else meanwhile.
_LEFT_S = 75.0

#: Whose errors a failed attempt may carry: "(no answer)" was never answered, for nobody was there to.
_NAMED = (
    *("taskconn.errors.", "pymysql.err.OperationalError", "psycopg.", "redis.exceptions.", "rq.timeouts."),
    *(
        "billiard.exceptions.",
        "celery.exceptions.",
        "Work-horse terminated",
        "Moved to FailedJobRegistry",
        "Job was stuck in intermediate queue",  # taken by a worker that was killed before it began
        "(no answer)",
    ),
)


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
    with stage(system_name, server_name, by_hand=by_hand, dies=dies) as (system, place):
        sender = _Sender(system, load, verdict, max(faults_s, _FAULTS_LAST_S) if faults_s else 0.0)
        sender.start()
        if faults_s:
            verdict.faults = faults.inject(place, seed, time.monotonic() + faults_s)
        sender.finish()
        verdict.descriptors = _descriptors(system)
        verdict.starts = system.starts
        system.end()
        judge(place, load, verdict)
    verdict.took_s = time.monotonic() - started
    return verdict


class _Sender(threading.Thread):
    """
    Send what is to be done, again whatever failed or was lost, until all is done.

    Args:
        system: Does it.
        load: What is to be done.
        verdict: Gets what is seen.
        lasts_s: Seconds over which *load* is spread, unless `finish` comes first.
    """

    def __init__(self, system: System, load: list[Transfer], verdict: Verdict, lasts_s: float) -> None:
        super().__init__(name="sender", daemon=True)
        self._system, self._verdict = system, verdict
        self._waiting = list(reversed(load))
        self._pause_s = lasts_s / len(load)
        self._sent_at: dict[Transfer, float] = {}
        self._again_at: dict[Transfer, float] = {}
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
        next_at = time.monotonic()
        try:
            while (self._waiting or self._sent_at or self._again_at) and not self._gives_up.wait(0.02):
                now, hurries = time.monotonic(), self._hurries.is_set()
                for transfer, at in list(self._again_at.items()):
                    if at <= now:
                        del self._again_at[transfer]
                        self._send(transfer)
                has_room = len(self._sent_at) < (_IN_FLIGHT if hurries else _AT_LEISURE)
                if self._waiting and has_room and (hurries or now >= next_at):
                    next_at = now + self._pause_s
                    self._send(self._waiting.pop())
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
            del self._sent_at[transfer]
            self._again_at[transfer] = time.monotonic() + _AGAIN_IN_S

    def _send(self, transfer: Transfer) -> None:
        self._verdict.executed += 1
        self._system.send(transfer)
        self._sent_at[transfer] = time.monotonic()


def judge(place: faults.Place, load: list[Transfer], verdict: Verdict) -> None:
    """Read back from the database what became of *load*, and write it into *verdict*."""
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
    ends_at = time.monotonic() + _LEFT_S
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
