from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest

import taskconn
from taskconn import _process
from taskconn.errors import InheritedConnectionError
from taskconn.testing import in_forked_child
from tests.support.core import WiredConnection, WiredDriver, fake
from tests.support.process import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")

#: What every program of these tests begins with: one alias over real sockets, leased once.
PRELUDE = """
import ctypes, gc, os, sys, threading, time
import taskconn
from taskconn.errors import InheritedConnectionError
from tests.support.core import WiredDriver

driver = WiredDriver()
registry = taskconn.Registry()
handle = registry.add("orders", driver, max_size=2, acquire_timeout=5)
parent = os.getpid()

def lease():
    return taskconn.lease(handle)

def use():
    with lease() as db:
        db.execute("INSERT")
        assert db.taskconn_session.owner_pid == os.getpid(), "a connection of another process"
    return db

def wait(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"
"""


def run(source: str) -> str:
    """Run a program in a fresh interpreter, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + source], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


#: Ways to fork: each runs `child` in a child process and waits for its end.
WAYS = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
wait(pid)
""",
    "os.fork, ordinary exit": """
pid = os.fork()
if pid == 0:
    child()
    sys.exit(0)
wait(pid)
""",
    "multiprocessing": """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
""",
    "billiard": """
import billiard
process = billiard.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
""",
    "a supervisor thread": """
def supervise():
    pid = os.fork()
    if pid == 0:
        child()
        os._exit(0)
    wait(pid)
thread = threading.Thread(target=supervise)
thread.start()
thread.join()
""",
    "fork(2) without hooks": """
pid = ctypes.CDLL(None).fork()
if pid == 0:
    child()
    os._exit(0)
wait(pid)
""",
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


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


@every_way
def test_inherited_lease_is_refused_and_left_in_silence(way: str) -> None:
    """Leaving an inherited block says and raises nothing; its connection names alias, both pids and the way out."""
    run(f"""
class Gone(Exception): pass
lease1 = lease()
mine = lease1.__enter__()
mine.execute("INSERT 1")
def child():
    try:
        mine.execute("stolen")
    except InheritedConnectionError as error:
        assert (error.alias, error.owner_pid, error.pid) == ("orders", parent, os.getpid())
        assert "with taskconn.lease('orders') as db" in str(error)
    else:
        raise AssertionError("used in the child")
    with lease() as own:
        assert own is not mine, "an inherited lease is not joined"
    lease1.__exit__(None, None, None)
    with lease() as again:
        assert again is own
    try:
        taskconn.after_commit(print, "at once")
    finally:
        sys.stdout.flush()
{way}
mine.execute("INSERT 2")
lease1.__exit__(None, None, None)
assert mine.heard() == "INSERT 1\\nINSERT 2\\ncommit\\n"
assert mine.committed == ["INSERT 1", "INSERT 2"]
""")


def test_inherited_block_that_fails_in_the_child_is_left_in_silence() -> None:
    """An error that leaves an inherited block in the child passes as it is, and rolls nothing back at the parent's."""
    run("""
pid = None
try:
    with lease() as mine:
        mine.execute("INSERT")
        pid = os.fork()
        if pid == 0:
            raise ZeroDivisionError
        wait(pid)
except ZeroDivisionError:
    assert os.getpid() != parent
    os._exit(0)
assert mine.heard() == "INSERT\\ncommit\\n"
""")


@pytest.mark.parametrize("ending", ["driver.close(mine, 1)", "del mine; driver.opened.clear(); gc.collect()", "pass"])
def test_child_keeps_no_socket_of_the_parents(ending: str) -> None:
    """The child's copy of each socket is dead at once: the server sees the parent's end as the only one."""
    run(f"""
mine = use()
server, number = mine.server, mine.socket.fileno()
mine.heard()
reader, writer = os.pipe()
release_reader, release_writer = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        mine.socket.sendall(b"stolen")
    except OSError:
        pass
    {ending}
    os.write(writer, b"x")
    os.read(release_reader, 1)  # alive, while the parent closes
    os._exit(0)
os.read(reader, 1)
server.setblocking(False)
try:
    raise AssertionError(server.recv(100))
except BlockingIOError:
    pass
server.settimeout(5)
mine.socket.close()
assert server.recv(100) == b"", "the end of the stream, though the child lives"
os.write(release_writer, b"x")
wait(pid)
""")


def test_locks_are_renewed_in_the_child() -> None:
    """A fork while other threads hold the pool's lock, wait, and open one leaves the child a usable pool."""
    run("""
inside, go_on = threading.Event(), threading.Event()
open_now = driver.open
def slow(target, timeout_s):
    inside.set()
    go_on.wait()
    return open_now(target, timeout_s)
held = [lease(), lease()]
first = held[0].begin(None)
driver.open = slow
opener = threading.Thread(target=lambda: (held[1].begin(None), held[1].succeed()))
opener.start()
inside.wait()
def wait_for_one():
    with lease():
        pass
waiter = threading.Thread(target=wait_for_one)
waiter.start()
pool = registry.pool("orders")
while not pool._waiters:
    time.sleep(0.001)
pool._turnstile.lock.acquire()
pid = os.fork()
if pid == 0:
    driver.open = open_now
    assert not pool._waiters
    with lease() as one:
        other = lease()
        two = other.begin(None)
        assert two is one
        other.succeed()
    use()
    assert registry.stats()["orders"]["open"] == 1
    os._exit(0)
pool._turnstile.lock.release()
wait(pid)
go_on.set()
opener.join()
held[0].succeed()
waiter.join()
""")


def test_child_without_a_free_descriptor_forgets_its_parents_connections() -> None:
    """Even where no dead socket can be made as usual, no child hands out what its parent opened, or speaks on it."""
    run("""
import resource
mine = use()
mine.heard()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
pid = os.fork()
if pid == 0:
    try:
        mine.socket.sendall(b"stolen")
        os._exit(1)
    except OSError:
        pass
    for number in taken:
        os.close(number)
    assert use() is not mine
    os._exit(0)
wait(pid)
assert mine.heard() == ""
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


def test_fork_hook_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Discards are logged at the child's first lease, never in the hook: an inherited log socket would speak."""
    app = fake()
    with app.lease():
        pass

    def child() -> tuple[list[str], list[str]]:
        caplog.clear()
        with caplog.at_level("DEBUG", logger="taskconn"):
            before = [record.getMessage() for record in caplog.records]
            with app.lease():
                pass
            return before, [record.getMessage() for record in caplog.records]

    before, after = in_forked_child(child)

    assert before == []
    assert "1 inherited discarded" in after[0]


def test_descriptor_that_was_used_again_is_left_alone() -> None:
    """Only what still is the recorded socket is replaced in the child: its number may belong to a file by now."""
    driver = WiredDriver()
    registry = taskconn.Registry()
    handle = registry.add("default", driver)
    with taskconn.lease(handle) as db:
        assert isinstance(db, WiredConnection)
    number = db.socket.fileno()
    entry = _process.Socket.of(number)
    assert entry is not None
    db.socket.close()
    with open(os.devnull, "rb") as other:  # noqa: PTH123 -- the lowest free number is wanted
        assert other.fileno() == number

        _process.disarm([entry])

        assert other.read() == b""
    db.server.close()


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
