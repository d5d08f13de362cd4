"""Redis's commands that change what a connection means to the next one who uses it."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["CLOSING", "LASTING", "OPENING", "name_of"]

#: Commands that change what a connection means to the next one who uses it. CLIENT: with one of the second words.
LASTING = {"ASKING", "AUTH", "HELLO", "MONITOR", "PSUBSCRIBE", "READONLY", "READWRITE", "RESET", "SELECT"}
LASTING |= {"SSUBSCRIBE", "SUBSCRIBE", "CLIENT CACHING", "CLIENT NO-EVICT", "CLIENT NO-TOUCH", "CLIENT REPLY"}
LASTING |= {"CLIENT SETNAME", "CLIENT TRACKING", "SCRIPT DEBUG"}
#: Commands that begin and end a transaction, or the watch for one.
OPENING, CLOSING = {"MULTI", "WATCH"}, {"DISCARD", "EXEC", "UNWATCH"}
#: Commands with a second word that matters.
_FAMILIES = {"CLIENT", "SCRIPT"}


@functools.lru_cache(maxsize=512)
def _words(part: Any) -> tuple[str, ...]:
    """Split a part of a command, ``"SELECT"`` or ``b"client setname"``, into words as the sets above have them."""
    text = part.decode(errors="replace") if isinstance(part, bytes) else str(part)
    return tuple(text.upper().split())


def name_of(arguments: Any) -> str:
    """Give a command's name as the sets above have it, with its second word where that matters."""
    words = _words(arguments[0])
    name = words[0] if words else ""
    if name in _FAMILIES:
        name = " ".join([*words, *(_words(arguments[1]) if len(arguments) > 1 else ())][:2])
    return name
