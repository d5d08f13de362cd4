"""A child leaves its parent's leases, connections, sockets and locks alone."""

from __future__ import annotations

import os
import sys

import pytest

import taskconn
from taskconn import _process
from taskconn.testing import in_forked_child
from tests.support.core import WiredConnection, WiredDriver, fake
from tests.support.forks import every_way, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")


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
