"""One connection that would cross a fork, and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ._clients import Client
from ._stacks import Place, shortened

__all__ = ["Finding", "is_allowed"]


class Finding(NamedTuple):
    """
    Describe a connection of somebody else's that is open at a fork.

    Attributes:
        client: The socket.
        kind: Kind of server: ``"MySQL"``, ...; "" if nobody knows.
        place: Line that opened it, the user's own if there is one; None if that was not seen.
        by: Line of another package, called or imported by that of *place*.
        holder: What holds it, if that was looked for.
        imports: Modules that were being imported when it was opened, innermost first.
        reference: Gives the Python object of the socket, or None.
    """

    client: Client
    kind: str
    place: Place | None
    by: Place | None
    holder: str
    imports: tuple[Place, ...]
    reference: Callable[[], Any]

    @property
    def what(self) -> str:
        """What it is and where it leads: ``MySQL connection to db:3306``."""
        return f"{self.kind or 'unknown'} connection to {self.client.address}"

    @property
    def where(self) -> str:
        """Where it was opened, as far as that is known."""
        words = []
        if self.by is not None and self.place is not None:
            words.append(f"opened by {self.by}, for {self.place}")
        elif self.place is not None:
            words.append(f"opened at {self.place}")
        if self.holder:
            words.append(f"held by {self.holder}")
        return ", ".join(words) or "opened by nobody knows whom"

    def __str__(self) -> str:
        return f"{self.what} (descriptor {self.client.socket.fd}), {self.where}"


def is_allowed(finding: Finding, allowed: Iterable[str]) -> bool:
    """
    Tell whether the user has said that a connection may cross forks.

    Args:
        finding: The connection.
        allowed: Addresses (``"db:3306"``), files (``"shop/db.py"``) or lines (``"shop/db.py:12"``).
    """
    for word in allowed:
        if word == finding.client.address:
            return True
        for place in (finding.place, finding.by):
            if place is not None:
                path = shortened(place.path)
                names = (path, place.path, f"{path}:{place.line}", f"{place.path}:{place.line}")
                if any(name == word or name.endswith(f"/{word}") for name in names):
                    return True
    return False
