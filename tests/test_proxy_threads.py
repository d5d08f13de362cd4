"""A proxy keeps a connection for each thread and each greenlet, until that ends."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable

import pytest

import taskconn
from taskconn import _holds
from taskconn.driver import Session
from tests.support.core import fake
from tests.support.databases import MySQLDatabase
from tests.support.process import Script


def in_thread(function: object) -> None:
    """Run *function* in a thread to its end."""
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    thread.join()


@pytest.mark.portable
def test_each_thread_has_its_own() -> None:
    """One proxy reaches one connection per thread, given back when the thread ends and used again by the next."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    numbers: list[int] = []

    def use() -> None:
        conn.execute("INSERT")
        conn.commit()
        numbers.append(conn.number)

    use()
    in_thread(use)
    gc.collect()
    in_thread(use)

    assert numbers == [1, 2, 2]
    assert app.stats()["leased"] == 1


@pytest.mark.portable
def test_threads_that_use_it_first_at_once_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second thread in the first one's first use takes nothing from it: not its place, not its connection."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    has_used, may_end = threading.Event(), threading.Event()
    numbers: list[int] = []

    def use() -> None:
        numbers.append(conn.number)
        has_used.set()
        may_end.wait(5)
        numbers.append(conn.number)

    other = threading.Thread(target=use)

    class Overtaken(_holds.PerRunner[_holds.Hold]):
        """Let the other thread come first, after this one has seen that nothing is kept."""

        def __init__(self) -> None:
            super().__init__()
            if other.ident is None:
                other.start()
                has_used.wait(5)

    monkeypatch.setattr(_holds, "PerRunner", Overtaken)

    own = conn.number
    may_end.set()
    other.join()

    assert numbers == [numbers[0]] * 2
    assert own != numbers[0]


@pytest.mark.portable
def test_closing_leaves_another_threads_connection_alone() -> None:
    """`taskconn.close` can't know whether the other thread is in a statement; it closes what its own thread keeps."""
    app = fake()
    conn = taskconn.proxy(app.handle)
    has_used, may_go_on = threading.Event(), threading.Event()
    used = list[Session]()

    def use() -> None:
        for _ in range(2):
            conn.execute("SELECT")
            used.append(conn.taskconn_session)
            has_used.set()
            may_go_on.wait(5)

    other = threading.Thread(target=use)
    other.start()
    has_used.wait(5)
    conn.execute("SELECT")
    app.registry.close()
    may_go_on.set()
    other.join()

    assert [db.calls for db in app.opened] == [["SELECT", "SELECT"], ["SELECT", "close"]]
    assert used[0] is used[1]


#: Ends while a thread that nobody waits for is in the middle of a query, which it makes by a proxy.
DAEMON = """
import sys, threading
import taskconn

taskconn.configure({"default": sys.argv[1]})
conn, running = taskconn.proxy(), threading.Event()

def work():
    while True:
        with conn.cursor() as cursor:
            cursor.execute("SELECT 1")
        conn.rollback()
        running.set()

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
running.wait(10)
"""


def test_process_ends_quietly_while_daemon_threads_use_a_proxy(
    script: Callable[..., Script], mysql_database: MySQLDatabase
) -> None:
    """Their connections are not closed under their hands, nor by destructors: at the end that is a fatal error."""
    for _ in range(5):
        assert script(DAEMON, mysql_database.url).succeed() == ""


@pytest.mark.portable
def test_open_transaction_ends_with_its_thread() -> None:
    """What a thread never committed is dropped with its connection when the thread ends."""
    app = fake()
    conn = taskconn.proxy(app.handle)

    in_thread(lambda: conn.execute("INSERT"))
    gc.collect()

    assert (app.opened[0].is_open, app.opened[0].committed) == (False, [])
    assert app.stats()["open"] == 0


@pytest.mark.portable
def test_proxy_counts_toward_the_limit() -> None:
    """A proxy's connection is one of ``max_size``."""
    app = fake(max_size=1, acquire_timeout=0)
    taskconn.proxy(app.handle).execute("INSERT")

    def lease() -> None:
        with pytest.raises(taskconn.errors.AcquireTimeoutError, match="Held by: proxy 'default' for"):
            app.lease().begin(None)

    in_thread(lease)


@pytest.mark.portable
def test_ended_greenlet_gives_its_connection_back() -> None:
    """A greenlet that leased, too, holds nothing any more when it is gone, without the garbage collector."""
    greenlet = pytest.importorskip("greenlet")
    app = fake()
    conn = taskconn.proxy(app.handle)

    def run() -> None:
        conn.execute("INSERT")
        conn.commit()
        with app.lease():
            pass

    gc.disable()
    try:
        for _ in range(3):
            one = greenlet.greenlet(run)
            one.switch()
            del one
    finally:
        gc.enable()

    assert len(app.opened) == 1
    assert app.stats()["leased"] == 0
    assert sys.getrefcount(app.opened[0]) < 10
