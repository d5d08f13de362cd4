"""Between a worker and its warm horse: jobs go down a socket, "done" comes up, and both see how far the horse is."""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from typing import Any

from .._process import Owner, Socket, watch

__all__ = ["HorseEnd", "WorkerEnd", "open_channel"]

#: Before each job: number of the job, length of what follows.
_HEAD = struct.Struct("!QQ")

#: Number of the job that is done.
_REPORT = struct.Struct("!Q")

#: Longest wait for a horse to take a job that does not fit into the socket's buffer, in seconds: it does nothing else.
_SEND_TIMEOUT_S = 10

_CHUNK = 1 << 16


class _Progress:
    """
    Count the jobs that a horse has begun and ended, in memory that it shares with its parent.

    A horse may be killed at any instruction. What it wrote here is known all the same, and costs no system call.
    """

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")

    @property
    def begun(self) -> int:
        """Number of the last job that was taken, 0 at first."""
        return self._numbers[0]

    @begun.setter
    def begun(self, number: int) -> None:
        self._numbers[0] = number

    @property
    def ended(self) -> int:
        """Number of the last job whose outcome RQ has stored, 0 at first."""
        return self._numbers[1]

    @ended.setter
    def ended(self, number: int) -> None:
        self._numbers[1] = number


class _End:
    """Hold one end of the socket. A child closes it: the other side would not see that its holder is gone."""

    def __init__(self, sock: socket.socket, progress: _Progress) -> None:
        self._socket = sock
        self.progress = progress

    def sockets(self) -> list[Socket]:
        """List nothing to disarm: the socket is closed in the child, where nobody else knows its descriptor."""
        return []

    def before_fork(self) -> None:
        """Do nothing."""

    def after_fork_in_child(self, parent: Owner) -> None:
        """Leave the socket to the parent."""
        self.close()

    def close(self) -> None:
        """Close this end; the other side sees the end of the stream."""
        self._socket.close()


class WorkerEnd(_End):
    """
    Give jobs to a horse, one at a time, and learn what became of them.

    Attributes:
        pid: The horse; 0 before `adopt`.
        number: Number of the last job that was given.
        is_broken: The last job can't have arrived whole.
        end: What was collected of the horse when it had ended: pid, status, use of resources.
    """

    def __init__(self, sock: socket.socket, progress: _Progress) -> None:
        super().__init__(sock, progress)
        self.pid = 0
        self.number = 0
        self.is_broken = False
        self.end: tuple[int | None, int | None, Any] | None = None
        self._pidfd = -1
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        watch(self)

    def adopt(self, pid: int) -> None:
        """Remember which process has the other end."""
        self.pid = pid
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(pid)
            except OSError:  # not in this kernel, or this container: the end of the stream tells
                return
            # A process that the job left behind may hold the socket open, in spite of everything.
            self._poll.register(self._pidfd, select.POLLIN)

    def give(self, payload: bytes) -> bool:
        """
        Give the next job.

        Returns:
            False if it can't have arrived whole: the horse has gone, or does not read.
        """
        self._drain()
        self.number += 1
        try:
            self._socket.sendall(_HEAD.pack(self.number, len(payload)) + payload)
        except OSError:
            self.is_broken = True
        return not self.is_broken

    def wait(self) -> bool:
        """
        Wait until the last job is done, or the horse is gone. May be interrupted, and called again, at any time.

        Returns:
            Whether the horse has said that it is done, and waits for more.
        """
        while True:
            ready = self._poll.poll()
            if self.is_done():
                return True
            if self._is_at_end() or any(fd == self._pidfd for fd, _ in ready):
                return False

    def is_done(self) -> bool:
        """Tell whether the horse has said that it is done with the last job. The message stays where it is."""
        try:
            report = self._socket.recv(_REPORT.size, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return False
        return len(report) == _REPORT.size and _REPORT.unpack(report)[0] == self.number

    def is_ready(self) -> bool:
        """Tell whether the horse waits for another job."""
        if self.end is not None or self.is_broken or not self.is_done():
            return False
        return all(fd != self._pidfd for fd, _ in self._poll.poll(0))

    def has_begun(self) -> bool:
        """Tell whether the last job was taken by the horse."""
        return self.progress.begun == self.number

    def has_ended(self) -> bool:
        """Tell whether the last job's outcome was stored."""
        return self.progress.ended == self.number

    def is_gone(self) -> bool:
        """Tell whether the horse has left, or is about to, without having taken the last job."""
        return self._is_at_end() and not self.has_begun()

    def close(self) -> None:
        """Close this end: a horse that is idle leaves, one that works does so when it is done."""
        super().close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _drain(self) -> None:
        """Take the report of the job before."""
        try:
            self._socket.recv(_CHUNK, socket.MSG_DONTWAIT)
        except OSError:
            return

    def _is_at_end(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:  # the horse has gone, and left something unread
            return True


class HorseEnd(_End):
    """Take jobs, one at a time, and say when they are done."""

    def __init__(self, sock: socket.socket, progress: _Progress) -> None:
        super().__init__(sock, progress)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def keep(self) -> None:
        """Begin, in the horse: its own children close it from now on."""
        watch(self)

    def is_quiet_for(self, seconds: float) -> bool:
        """Wait for something to come, *seconds* at the most; True if nothing did."""
        return not self._poll.poll(seconds * 1000)

    def take(self) -> tuple[int, bytes] | None:
        """
        Wait for a job.

        Returns:
            Its number and what was given; None when the worker wants no more of this horse, or has gone.
        """
        head = self._read(_HEAD.size)
        if head is None:
            return None
        number, length = _HEAD.unpack(head)
        payload = self._read(length)
        return None if payload is None else (number, payload)

    def report(self, number: int) -> bool:
        """Say that a job is done, and that the next one may come; False if nobody listens any more."""
        try:
            self._socket.sendall(_REPORT.pack(number))
        except OSError:
            return False
        return True

    def _read(self, length: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < length:
            try:
                part = self._socket.recv(min(length - len(parts), _CHUNK))
            except OSError:  # closed while something of ours was unread
                part = b""
            if not part:
                return None
            parts += part
        return bytes(parts)


def open_channel() -> tuple[WorkerEnd, HorseEnd]:
    """Make both ends; the fork that makes the horse comes next."""
    one, other = socket.socketpair()
    timeout: Any = struct.pack("ll", _SEND_TIMEOUT_S, 0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
    progress = _Progress()
    return WorkerEnd(one, progress), HorseEnd(other, progress)
