"""The ways to fork, with one face."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

#: Longest wait for a child, in seconds.
PATIENCE_S = 60.0


class Forked:
    """A child by `os.fork`, with the face of multiprocessing's."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            run()

    def wait(self) -> int | None:
        deadline = time.monotonic() + PATIENCE_S
        while self._code is None and time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.001)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


class Process:
    """A child by multiprocessing or billiard."""

    def __init__(self, module: Any, run: Callable[[], None]) -> None:
        self._process = module.get_context("fork").Process(target=run)
        self._process.start()
        self.pid = self._process.pid

    def wait(self) -> int | None:
        self._process.join(PATIENCE_S)
        code: int | None = self._process.exitcode
        return code

    def kill(self) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, signal.SIGKILL)
            self._process.join()


def start(fork: str, run: Callable[[], None]) -> Any:
    """Fork, and have the child run what is given."""
    if fork == "os.fork":
        return Forked(run)
    return Process(__import__(fork), run)
