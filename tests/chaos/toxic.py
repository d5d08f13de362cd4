"""A proxy that does to connections what networks do: cuts, delays, loses and truncates."""

from __future__ import annotations

import socket
import time
from typing import Any

from tests.matrix.relay import Pair, Relay

__all__ = ["Toxic"]


class Toxic(Relay):
    """Forward connections to a server, as `Relay` does, and harm them in more ways."""

    def freeze(self) -> None:
        """Let nothing pass for now, over connections old and new; `thaw` ends it, and nothing is lost."""
        self._ask(lambda: self._set_frozen(is_frozen=True))

    def thaw(self) -> None:
        """Let everything pass again, except over connections that `swallow` has made holes of."""
        self._ask(lambda: self._set_frozen(is_frozen=False))

    def truncate(self) -> None:
        """End each connection in the middle of the next answer that comes over it."""

        def order() -> None:
            self._truncated = {id(pair) for pair in self.pairs if pair.is_open}

        self._ask(order)

    def bury(self, after_s: float) -> None:
        """End towards the server the connections that `swallow` made holes of so long ago, as its keepalive would."""

        def order() -> None:
            now = time.monotonic()
            for pair in self.pairs:
                is_hole = pair.is_open and pair.is_hole and id(pair) not in self._frozen
                if is_hole and now - self._dug_at.setdefault(id(pair), now) >= after_s:
                    self._end(pair)

        self._ask(order)

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._dug_at: dict[int, float] = {}
        super().__init__(upstream)

    _frozen: frozenset[int] = frozenset()
    _truncated: frozenset[int] | set[int] = frozenset()

    def _set_frozen(self, *, is_frozen: bool) -> None:
        if is_frozen:
            holes = [pair for pair in self.pairs if pair.is_open and not pair.is_hole]
            self._frozen = frozenset(id(pair) for pair in holes)
            for pair in holes:
                pair.is_hole = True
            return
        for pair in self.pairs:
            if id(pair) in self._frozen:
                pair.is_hole = False
        self._frozen = frozenset()

    def _serve(self, pair: Pair, end: socket.socket, events: int) -> bool:
        if id(pair) in self._truncated and end is pair.server:
            self._truncated = self._truncated - {id(pair)}
            return self._cut_short(pair, end)
        return super()._serve(pair, end, events)

    def _cut_short(self, pair: Pair, end: Any) -> bool:
        try:
            data = end.recv(65536)
            pair.client.send(data[: len(data) // 2])
        except OSError:
            pass
        self._end(pair)
        return True
