"""Deadlines: a socket is shut when its time is up, and no other one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from taskconn._watchdog import Deadline
from tests.support.process import Script


def test_deadline_shuts_the_socket_that_it_was_given_for() -> None:
    """The end of the time is the end of the wait, for the earlier of two first."""
    (ours, theirs), (later, other) = socket.socketpair(), socket.socketpair()
    with ours, theirs, later, other:
        started = time.monotonic()
        with Deadline(later.fileno(), 10) as unused, Deadline(ours.fileno(), 0.1) as deadline:
            assert ours.recv(1) == b""

        assert 0.09 < time.monotonic() - started < 1
        assert (deadline.has_passed, unused.has_passed) == (True, False)
        other.send(b"x")
        assert later.recv(1) == b"x"


def test_deadline_leaves_another_socket_with_its_number_alone() -> None:
    """A descriptor that was closed and given out again is somebody else's."""
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    with Deadline(fd, 0.1) as deadline:
        ours.close()
        theirs.close()
        again, other = socket.socketpair()
        assert fd in (again.fileno(), other.fileno())
        while not deadline.has_passed:
            time.sleep(0.01)

    again.send(b"x")
    assert other.recv(1) == b"x"
    again.close()
    other.close()


def test_child_has_a_watchdog_of_its_own(script: Callable[..., Script]) -> None:
    """Threads do not survive a fork: the child's deadlines are looked after by a thread of the child's."""
    source = """
        import os, socket
        from taskconn._watchdog import Deadline

        def wait():
            ours, theirs = socket.socketpair()
            with Deadline(ours.fileno(), 0.1) as deadline:
                assert ours.recv(1) == b""
            assert deadline.has_passed

        wait()
        pid = os.fork()
        wait()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """
    import textwrap

    assert script(textwrap.dedent(source)).succeed() == ""
