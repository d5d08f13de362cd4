"""The channel between a worker and its warm horse: what each side notices of the other's end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from taskconn.rq._channel import HorseEnd, WorkerEnd, open_channel

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def _horse(live: Callable[[HorseEnd], None]) -> WorkerEnd:
    """Fork a process that has the horse's end."""
    ours, theirs = open_channel()
    pid = os.fork()
    if pid == 0:
        try:
            theirs.keep()
            live(theirs)
        finally:
            os._exit(0)
    theirs.close()
    ours.adopt(pid)
    return ours


def _work(channel: HorseEnd) -> None:
    """Take jobs and report them, until the other side closes; "die" is obeyed."""
    while (taken := channel.take()) is not None:
        number, payload = taken
        channel.progress.begun = number
        if payload == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        channel.progress.ended = number
        channel.report(number)


def _join(channel: WorkerEnd) -> int:
    return os.waitpid(channel.pid, 0)[1]


def test_jobs_go_down_and_reports_come_up() -> None:
    """A report stays where it is until the next job: asked again and again, the answer is the same."""
    channel = _horse(_work)

    for payload in (b"small", b"x" * (4 << 20), b""):
        assert channel.give(payload)
        assert [channel.wait(), channel.wait(), channel.is_done(), channel.is_ready()] == [True] * 4
        assert channel.has_begun()
        assert channel.has_ended()

    channel.close()
    assert _join(channel) == 0


@pytest.mark.parametrize("has_pidfd", [True, False], ids=["pidfd", "end of the stream"])
def test_death_is_noticed_with_what_the_horse_had_reached(monkeypatch: pytest.MonkeyPatch, has_pidfd: bool) -> None:
    """The job that was begun and has not ended is the one that died with it."""
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    channel = _horse(_work)
    assert channel.give(b"first")
    assert channel.wait()

    assert channel.give(b"die")
    assert [channel.wait(), channel.wait()] == [False, False]

    assert (channel.has_begun(), channel.has_ended(), channel.is_ready()) == (True, False, False)
    channel.close()
    assert os.WTERMSIG(_join(channel)) == signal.SIGKILL


def test_job_that_was_not_taken_has_not_begun() -> None:
    """A horse that dies before it reads leaves the job as it was."""
    channel = _horse(lambda _: signal.pause())
    assert channel.give(b"job")

    os.kill(channel.pid, signal.SIGKILL)

    assert not channel.wait()
    assert not channel.has_begun()
    channel.close()
    _join(channel)


def test_giving_to_a_horse_that_has_gone_fails() -> None:
    """It is not said to have the job."""
    channel = _horse(lambda _: None)
    _join(channel)

    assert not channel.give(b"job")
    assert channel.is_broken
    channel.close()


def test_horse_leaves_when_its_report_is_not_read() -> None:
    """A worker that goes with a report unread resets the stream; for the horse that is its end like any other."""
    channel = _horse(_work)
    assert channel.give(b"job")
    assert channel.wait()

    channel.close()

    assert _join(channel) == 0


def test_other_children_hold_no_end() -> None:
    """A child of either side closes what it inherited: only the two that talk can keep the stream open."""
    read_end, write_end = os.pipe()

    def live(channel: HorseEnd) -> None:
        if os.fork() == 0:  # a child of the job's, which outlives the horse
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
        _work(channel)

    channel = _horse(live)
    channel._poll.unregister(channel._pidfd)  # the end of the stream has to do
    sibling = os.fork()
    if sibling == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)

    assert channel.give(b"die")
    assert not channel.wait()

    channel.close()
    _join(channel)
    second = _horse(_work)  # forked while a sibling lives
    second.close()
    assert _join(second) == 0
    os.write(write_end, b"ab")
    os.waitpid(sibling, 0)
    for end in (read_end, write_end):
        os.close(end)


def test_signal_handler_that_raises_loses_nothing() -> None:
    """The wait may be interrupted at any time, and begun again."""

    class AlarmError(Exception):
        pass

    def raise_it(*_: object) -> None:
        raise AlarmError("struck")

    before = signal.signal(signal.SIGUSR1, raise_it)
    release_read, release_write = os.pipe()

    def live(channel: HorseEnd) -> None:
        os.read(release_read, 1)
        _work(channel)

    channel = _horse(live)
    assert channel.give(b"job")
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGUSR1])
    timer.start()
    with pytest.raises(AlarmError, match="struck"):
        channel.wait()
    timer.join()
    os.write(release_write, b"x")

    assert channel.wait()

    signal.signal(signal.SIGUSR1, before)
    channel.close()
    _join(channel)
    for end in (release_read, release_write):
        os.close(end)
