"""One signal at a time, at a moment that is chosen at random, for programs that are interrupted many times."""

from __future__ import annotations

import signal
import time


class Interrupt(Exception):  # noqa: N818 -- like a soft time limit, it is no error of the program's
    """Strike at a random moment."""


class Bolt:
    """
    Strike once, and know it.

    Attributes:
        has_struck: Has the signal come?
    """

    has_struck = False

    def arm(self, delay_s: float) -> None:
        """Strike after *delay_s*."""
        self.has_struck = False
        signal.setitimer(signal.ITIMER_REAL, delay_s)

    def disarm(self) -> None:
        """Strike now if it is late (Python may hear a signal some calls after it came), else never."""
        remaining_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        deadline = time.monotonic() + 1
        while not remaining_s and not self.has_struck and time.monotonic() < deadline:
            time.sleep(0.0001)

    def strike(self, *_: object) -> None:
        """Handle the signal."""
        self.has_struck = True
        raise Interrupt
