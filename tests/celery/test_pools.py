"""All six ways to run a worker: every task has a connection of its own process, and nobody else's."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections import defaultdict
from typing import Any

import psutil
import pytest

from examples.servers import MySQLServer
from tests.support.databases import MySQLDatabase

#: A child's session may outlive it by so much: the server notices in its own time.
_LAG_S = 2.0


class Watch:
    """Look at the server's sessions and the worker's children over and over, in a thread."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._ends = threading.Event()
        self._has_seen_enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: (time, sessions, children) of each look.
        self.looks: list[tuple[float, set[int], set[int]]] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # on a busy machine a look takes a second
            assert self._has_seen_enough.wait(60)
        self._ends.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ends.wait(0.05):
            before = self._children()
            sessions = {session.id for session in self._worker.database.sessions()}
            self.looks.append((time.monotonic(), sessions, before | self._children()))
            if len(self.looks) > 10:
                self._has_seen_enough.set()

    def _children(self) -> set[int]:
        alive = set()
        for pid in self._worker.script.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    alive.add(pid)
        return alive

    def most_sessions_above_children(self, pid_of: dict[int, int], parents: set[int]) -> int:
        """Give by how many sessions ever exceeded children, without the parent's and those of ended children."""
        last_alive = dict.fromkeys(pid_of.values(), 0.0)
        worst = -(10**6)
        for now, sessions, children in self.looks:
            last_alive.update(dict.fromkeys(children, now))
            counted = [
                session
                for session in sessions - parents
                if (pid := pid_of.get(session)) is None or pid in children or now - last_alive.get(pid, 0.0) > _LAG_S
            ]
            worst = max(worst, len(counted) - len(children))
        return worst


def send_all(worker: Any, number: int, *, pause_s: float = 0.0) -> None:
    """Send tasks over one connection, and wait until the database has their rows."""
    with worker.client.producer_or_acquire() as producer:
        for n in range(number):
            worker.send("put", n, pause_s, producer=producer)
    worker.wait_for_visits(number, timeout=30 + number / 10)  # alone on two cores 2,000 take ten seconds


def settled_aborts(server: MySQLServer) -> int:
    """Read how many clients went without a goodbye, when the server has noticed all that went."""
    ends_at = time.monotonic() + 5
    while server.sessions() and time.monotonic() < ends_at:
        time.sleep(0.05)
    return server.status("Aborted_clients")


def assert_every_session_has_one_process(worker: Any, number: int) -> dict[int, int]:
    """Check the rows, read back from the database; gives the process of each session."""
    visits = [visit for visit in worker.visits() if visit[0] >= 0]
    assert [visit[0] for visit in visits] == list(range(number))
    pids: defaultdict[int, set[int]] = defaultdict(set)
    for _, pid, session, _, _ in visits:
        pids[session].add(pid)
    assert {session: found for session, found in pids.items() if len(found) > 1} == {}
    return {session: found.pop() for session, found in pids.items()}


def assert_no_session_is_in_two_tasks_at_once(worker: Any) -> None:
    """Check that the times of the tasks that had one session do not overlap."""
    by_session: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for _, _, session, began, ended in worker.visits():
        by_session[session].append((began, ended))
    for spans in by_session.values():
        spans.sort()
        overlaps = [(one, other) for one, other in itertools.pairwise(spans) if other[0] < one[1]]
        assert overlaps == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("method", "number"), [("fork", 2000), ("spawn", 200)])
def test_prefork_children_never_share_a_session(
    start_worker: Any, visits_database: MySQLDatabase, mariadb: MySQLServer, method: str, number: int
) -> None:
    """Children use sessions of their own and say goodbye to them, whatever their parent leased before it forked."""
    aborts = settled_aborts(mariadb)
    worker = start_worker(
        visits_database,
        *("-c", "4", "--max-tasks-per-child", "50", "--pool-start-method", method),
        plan="parent-leases",
        databases={"default": visits_database.url, "held": visits_database.url},
    )
    parents = {int(worker.said("parent-session", count=1)), int(worker.said("parent-session", count=2))}

    with Watch(worker) as watch:
        send_all(worker, number)
        pid_of = assert_every_session_has_one_process(worker, number)
        stats = worker.stats()["default"]
        alive = {session.id for session in visits_database.sessions()}
    code = worker.stop()

    assert len(set(pid_of.values())) > number / 50 / 2  # children were replaced on the way
    assert not parents & set(pid_of)
    assert worker.script.pid not in pid_of.values()
    assert len(parents) == 2
    assert parents <= alive  # its children's ends did not end them
    assert len(watch.looks) > 10
    assert watch.most_sessions_above_children(pid_of, parents) <= 0
    assert stats["leases"] >= number
    assert stats["discards"] == 0 or method == "fork"
    assert code == 0
    assert [row[0] for row in visits_database.query("SELECT n FROM visits WHERE n < 0")] == [-1]  # the held one: undone
    assert settled_aborts(mariadb) == aborts


def test_solo_keeps_one_session(start_worker: Any, visits_database: MySQLDatabase, mariadb: MySQLServer) -> None:
    """The solo pool runs every task on the worker's own connection, and says goodbye to it."""
    aborts = settled_aborts(mariadb)
    worker = start_worker(visits_database, "-P", "solo")

    send_all(worker, 200)
    pid_of = assert_every_session_has_one_process(worker, 200)

    assert list(pid_of.values()) == [worker.script.pid]
    assert worker.stats()["default"]["leases"] == 200
    assert worker.stop() == 0
    assert settled_aborts(mariadb) == aborts


@pytest.mark.parametrize(("pool", "concurrency"), [("threads", 8), ("gevent", 50), ("eventlet", 50)])
def test_concurrent_tasks_share_at_most_max_size_sessions(
    start_worker: Any, visits_database: MySQLDatabase, mariadb: MySQLServer, pool: str, concurrency: int
) -> None:
    """Threads and greenlets wait for one of `max_size` connections, and no two of them have the same at once."""
    aborts = settled_aborts(mariadb)
    databases = {"default": {"url": visits_database.url, "max_size": 5}}
    worker = start_worker(visits_database, "-P", pool, "-c", str(concurrency), databases=databases)

    with Watch(worker) as watch:
        send_all(worker, 150, pause_s=0.1)
        pid_of = assert_every_session_has_one_process(worker, 150)
        stats = worker.stats()["default"]

    assert_no_session_is_in_two_tasks_at_once(worker)
    assert max(len(sessions) for _, sessions, _ in watch.looks) <= 5
    assert 2 <= len(pid_of) <= 5
    assert stats["opens"] <= 5
    assert stats["waits"] > 0
    assert worker.stop() == 0
    assert settled_aborts(mariadb) == aborts


@pytest.mark.parametrize(("pool", "concurrency"), [("threads", 3), ("gevent", 3)])
def test_without_max_size_the_concurrency_is_the_limit(
    start_worker: Any, visits_database: MySQLDatabase, pool: str, concurrency: int
) -> None:
    """`max_size` left open means as many connections as tasks run at once."""
    worker = start_worker(visits_database, "-P", pool, "-c", str(concurrency))

    send_all(worker, 60, pause_s=0.02)

    stats = worker.stats()["default"]
    assert stats["opens"] <= concurrency
    assert stats["leases"] == 60


def test_killed_child_leaves_no_row(start_worker: Any, visits_database: MySQLDatabase) -> None:
    """A child killed in the middle of a transaction leaves nothing behind; its replacement serves the next tasks."""
    worker = start_worker(visits_database, "-c", "1", "--prefetch-multiplier", "1")

    worker.send("put_and_wait", 7)
    pid = int(worker.said("in-transaction"))
    os.kill(pid, signal.SIGKILL)
    for n in range(20):
        worker.send("put", n)
    worker.wait_for_visits(20)

    pid_of = assert_every_session_has_one_process(worker, 20)
    assert pid not in pid_of.values()
    assert worker.stop() == 0


def test_broker_without_event_loop_forks_from_a_thread(
    start_worker: Any, visits_database: MySQLDatabase, tmp_path: Any
) -> None:
    """With a broker that has no event loop, a thread forks the replacements; they have sessions of their own too."""
    (tmp_path / "queue").mkdir()
    folder = str(tmp_path / "queue")
    settings = {
        "broker_url": "filesystem://",
        "broker_transport_options": {
            "data_folder_in": folder,
            "data_folder_out": folder,
            "control_folder": str(tmp_path / "control"),
        },
    }
    # Sent before the worker starts: kombu's reader may take a file away that the sender has not written yet.
    options = ("-c", "2", "--max-tasks-per-child", "10")
    worker = start_worker(visits_database, *options, settings=settings, queued=60)

    worker.wait_for_visits(60)

    pid_of = assert_every_session_has_one_process(worker, 60)
    assert len(pid_of) >= 4
    assert worker.script.pid not in pid_of.values()
    assert worker.stop() == 0
