"""When the next try to connect may be made: after a failure or a loss, within a rate. `_opening` makes the tries."""

from __future__ import annotations

import threading
import time

from .options import Options

__all__ = ["Pace"]

_monotonic = time.monotonic

#: Longest pause after the first failure, in seconds; it doubles with each further one, up to `_LONGEST_PAUSE_S`.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0

#: For so many seconds a server that takes no writes is taken to be meant so.
_DEMOTED_S = 60.0


class Pace:
    """
    Say whose turn it is to connect to one server, for all threads of one process.

    A failed try is followed by a pause of random length ("full jitter"), in which nobody tries; then one does, and the
    others go by how that ends (a circuit breaker, half open). So threads do not queue up to run into the same timeout
    one after the other. Where a connection was lost before, the pause is up to `reconnect_spread`: a fleet that has
    lost its server at the same moment does not come back at the same moment.

    Source:
        M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, for full jitter.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()  # its own `with` is one step; a signal strikes in the middle of a Condition's
        self._changed = threading.Condition(self._lock)
        self._reason = ""
        self._failures = 0
        self._failed_at = self._paused_until = self._next_at = 0.0
        self._probed_until = 0.0
        self._demoted_until = 0.0
        self._is_lost = False

    def enter(self, deadline: float, *, is_patient: bool) -> str:
        """
        Wait for the turn to try, which `succeeded`, `failed` or `left` ends.

        Args:
            deadline: Monotonic time, in seconds, until which to wait.
            is_patient: Wait for the end of a pause, too, not for the rate alone.

        Returns:
            "" where it is the caller's turn; else why it is not, in words.
        """
        with self._lock:
            while True:
                now = _monotonic()
                pause_s, rate_s = self._pause_s(now), self._next_at - now
                if pause_s > 0 and not (is_patient and now + pause_s <= deadline):
                    return self._describe(now, pause_s)
                if now + rate_s > deadline:
                    return f"`max_connect_rate` leaves no room for a connect within {rate_s:.1f} s"
                if pause_s <= 0 and rate_s <= 0:
                    break
                self._changed.wait(max(pause_s, rate_s))
            if self._failures:
                self._probed_until = now + self._options.connect_timeout
            if self._options.max_connect_rate is not None:
                self._next_at = now + 1 / self._options.max_connect_rate
        return ""

    def succeeded(self) -> None:
        """Take in that the server is there."""
        if self._failures or self._is_lost:
            with self._lock:
                self._failures, self._is_lost, self._probed_until = 0, False, 0.0
                self._changed.notify_all()

    def failed(self, reason: str) -> None:
        """Take in that a try has failed, for a *reason* without secrets."""
        with self._lock:
            self._failures += 1
            self._reason, self._failed_at, self._probed_until = reason, _monotonic(), 0.0
            longest_s = min(_FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE_S)
            if self._is_lost:
                longest_s = max(longest_s, self._options.reconnect_spread)
            self._paused_until = self._failed_at + _share() * longest_s
            self._changed.notify_all()

    def left(self) -> None:
        """Take in that a try was given up, by an interrupt: nothing is known."""
        with self._lock:
            self._probed_until = 0.0
            self._changed.notify_all()

    def lost(self) -> None:
        """Take in that a connection was lost: where the server can't be reached at once, come back spread."""
        self._is_lost = True

    def is_demoted(self) -> bool:
        """
        Take in that the server takes no writes: after a fail-over, old connections stay on what was the primary.

        Returns:
            Whether that is news, so that the connections are to be replaced. Where the new ones are told the same, the
            server is meant to be read.
        """
        now = _monotonic()
        is_news = now >= self._demoted_until
        if is_news:
            self._demoted_until = now + _DEMOTED_S
        return is_news

    def _pause_s(self, now: float) -> float:
        """Say for how long nobody is to try; it is over at once when the one who tries has succeeded."""
        return max(self._paused_until, self._probed_until) - now if self._failures else 0.0

    def _describe(self, now: float, pause_s: float) -> str:
        ago_s = now - self._failed_at
        if now < self._paused_until:
            return f"the last try failed {ago_s:.1f} s ago, the next is made in {pause_s:.1f} s: {self._reason}"
        return f"the last try failed {ago_s:.1f} s ago, and the next is under way: {self._reason}"


def _share() -> float:
    import random  # noqa: PLC0415 -- half as dear as all of this layer; most programs have it when they connect

    return random.random()
