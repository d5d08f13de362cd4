"""Who a process is: a fork is noticed however it is made, and what belongs to a process or a thread ends with it."""

from __future__ import annotations

import gc
import os
import sys
import threading

import pytest

from taskconn import _process
from taskconn.errors import InheritedConnectionError
from taskconn.testing import in_forked_child
from tests.support.core import fake
from tests.support.forks import every_way, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")


@every_way
def test_child_opens_its_own_and_the_parents_goes_on(way: str) -> None:
    """However a process forks: a lease in the child opens a connection of its own, and the parent's hears nothing."""
    run(f"""
mine = use()
def child():
    assert use() is not mine
    gc.collect()
{way}
assert mine.heard() == "INSERT\\ncommit\\n"
assert use() is mine, "the parent's connection goes on"
""")


def test_fork_without_hooks_is_noticed_where_no_page_can_be_wiped() -> None:
    """On kernels that can't wipe a page at a fork, child and grandchild are told by their pids."""
    run("""
assert sys.platform != "linux" or type(taskconn._process.unforked).__name__ == "mmap"
taskconn._process.unforked = taskconn._lease.unforked = taskconn._process._PidMark()
mine = use()
fork = ctypes.CDLL(None).fork
pid = fork()
if pid == 0:
    own = use()
    assert own is not mine
    pid = fork()
    if pid == 0:
        assert use() not in (own, mine)
        os._exit(0)
    wait(pid)
    os._exit(0)
wait(pid)
assert use() is mine
""")


def test_old_kernel_is_no_obstacle() -> None:
    """A kernel that refuses to wipe pages has the process fall back to its pid."""
    run("""
import mmap
class Refusing:
    def __init__(self, *args, **kwargs): raise OSError(22, "Invalid argument")
mmap.mmap = Refusing
assert type(taskconn._process._make_mark()) is taskconn._process._PidMark
""")


def test_grandchild_opens_its_own() -> None:
    """Each generation has its own connections, and counts its own."""
    app = fake()

    def child() -> tuple[int, int]:
        with app.lease() as db:
            db.execute("INSERT")
        return in_forked_child(grandchild), app.stats()["opens"]

    def grandchild() -> int:
        with app.lease() as db:
            return db.taskconn_session.owner_pid - os.getpid()

    with app.lease():
        pass

    assert in_forked_child(child) == (0, 1)
    assert app.stats()["opens"] == 1


def test_counters_of_a_child_begin_anew() -> None:
    """A child counts what it discarded, and nothing that its parent did."""
    app = fake()
    with app.lease() as db:
        db.execute("INSERT")

    counts = in_forked_child(app.stats)

    assert (counts["discards"], counts["opens"], counts["leases"], counts["open"]) == (1, 0, 0, 0)


def test_closing_at_exit_says_goodbye() -> None:
    """A process that ends by itself says goodbye to its servers; a child of multiprocessing, too."""
    program = """
import multiprocessing
goodbyes = os.fdopen(os.dup(2), "w")
close = driver.close
def say(connection, timeout_s):
    print("goodbye", "parent" if os.getpid() == parent else "child", flush=True)
    close(connection, timeout_s)
driver.close = say
use()
process = multiprocessing.get_context("fork").Process(target=use)
process.start()
process.join()
"""

    assert run(program).split("\n")[:2] == ["goodbye child", "goodbye parent"]


def test_runner_of_a_thread_is_not_the_next_threads() -> None:
    """Identifiers of threads are used again; what stands for a thread ends with it."""
    runners: list[object] = []

    def note() -> None:
        runners.append(_process.current_runner())
        assert _process.current_runner() is runners[-1]

    for _ in range(3):
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()

    assert len(set(map(id, runners))) == 3


def test_members_leave_by_themselves() -> None:
    """A member that nobody else holds is gone at once."""
    members: _process.WeakMembers[threading.Event] = _process.WeakMembers()
    first, second = threading.Event(), threading.Event()
    members.add(first)
    members.add(second)

    del first
    gc.collect()

    assert (members.list(), len(members)) == ([second], 1)
    members.remove(second)
    assert members.list() == []


def test_answer_of_a_forked_child() -> None:
    """`in_forked_child` gives what the function returned, raises what it raised, and says when the child just died."""

    def refuse() -> None:
        raise InheritedConnectionError("orders", 1, 2)

    assert in_forked_child(os.getpid) != os.getpid()
    with pytest.raises(InheritedConnectionError, match="Lease it where it is used"):
        in_forked_child(refuse)
    with pytest.raises(RuntimeError, match="died without an answer"):
        in_forked_child(lambda: os._exit(3))
