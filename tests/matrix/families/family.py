"""What the drivers of one family have in common: what they connect to, and what a task may leave behind there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from tests.drivers.rows import Row
from tests.matrix.relay import Relay

#: The database that the matrix writes to.
DATABASE = "matrix"

TRANSPORTS = ("TCP", "Unix socket", "TLS")

#: What a task may leave behind in Redis alone, for the others' `Family.impossible`.
OF_REDIS: Mapping[str, str] = dict.fromkeys(
    ("CLIENT SETNAME", "MULTI", "SELECT db", "SUBSCRIBE", "WATCH"), "a command of Redis"
)


@dataclass(frozen=True)
class Leftover:
    """
    What a task may leave behind.

    Attributes:
        leave: Leaves it.
        is_there: Tells whether the next task would see it.
        always_goes: It is gone without ``reset=True`` too.
    """

    leave: Callable[[Row, Any], object]
    is_there: Callable[[Row, Any], bool]
    always_goes: bool = False


def sql(statement: str) -> Callable[[Row, Any], Any]:
    """Run one statement."""
    return lambda row, db: row.run(db, statement)


def finds(statement: str, *unwanted: Any) -> Callable[[Row, Any], bool]:
    """Ask for one value, and tell whether it is one of *unwanted*; for any row at all, if none is named."""

    def look(row: Row, db: Any) -> bool:
        rows = row.run(db, statement)
        return rows[0][0] in unwanted if unwanted else bool(rows)

    return look


def works(statement: str) -> Callable[[Row, Any], bool]:
    """Tell whether *statement* works, so that what it needs is there."""

    def look(row: Row, db: Any) -> bool:
        try:
            row.run(db, statement)
        except Exception:  # noqa: BLE001 - whatever the library raises
            return False
        return True

    return look


class Family:
    """
    One kind of server.

    Attributes:
        impossible: What can't be had with it, and why.
        leftovers: What a task may leave behind, by name.
        missing: A database in an URL, and one that is not there.
    """

    name: ClassVar[str]
    impossible: ClassVar[Mapping[str, str]] = {}
    leftovers: ClassVar[Mapping[str, Leftover]]
    missing: ClassVar[tuple[str, str]] = (DATABASE, "missing")
    server: Any

    def make_server(self) -> Any:
        """Give a server, with TLS. It is imported here: a program that connects to one needs no means to start it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server."""
        self.server = self.make_server()
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()

    def version(self) -> str:
        """Say which server it is."""
        raise NotImplementedError

    def relay(self, transport: str, folder: Path) -> Relay:
        """Put a relay in front of the server."""
        if transport == "Unix socket":
            return Relay(self.server.socket_path, self.socket_path(folder))
        return Relay((self.server.host, self.server.port))

    def socket_path(self, folder: Path) -> Path:
        """Name the relay's Unix socket."""
        return folder / "relay.sock"

    def url(self, row: Row, transport: str, relay: Relay, folder: Path, **query: str) -> str:
        """Give the URL of the database behind *relay*."""
        arguments = {**(row.tls if transport == "TLS" else row.plain), **query}
        if transport == "Unix socket":
            arguments = {**query, **self.unix_arguments(folder)}
        filled = {name: value.format(authority=self.server.authority_path) for name, value in arguments.items()}
        place = self.place("" if transport == "Unix socket" else f"{relay.host}:{relay.port}")
        return f"{row.scheme}://{place}{'?' if filled else ''}{urlencode(filled, quote_via=quote)}"

    def place(self, address: str) -> str:
        """Give the URL between the scheme and the query."""
        return f"{self.server.user}:{self.server.password}@{address or 'localhost'}/{DATABASE}"

    def unix_arguments(self, folder: Path) -> dict[str, str]:
        """Give the arguments that name the relay's Unix socket."""
        return {"unix_socket": str(self.socket_path(folder))}

    def with_password(self, url: str) -> str:
        """Have *url* say a password, and the server ask for it."""
        return url

    # -- one transaction, one long query, one session --------------------------------------------------------

    def begin(self, row: Row, db: Any, value: str, outside: Any) -> Any:
        """Begin what a child could destroy; *outside* is the family where the server is."""
        row.write(db, value)

    def is_intact(self, row: Row, db: Any, begun: Any, value: str) -> bool:
        """Tell, before it is committed, whether it is still there."""
        return value in row.values(db)

    def is_committed(self, value: str) -> bool:
        """Tell whether others see it."""
        raise NotImplementedError

    def hold(self) -> None:
        """Make `block` wait."""
        raise NotImplementedError

    def release(self) -> None:
        """Let it go on."""
        raise NotImplementedError

    def block(self, row: Row, db: Any) -> bool:
        """Ask what is answered when `release` is called; tell whether the answer is right."""
        raise NotImplementedError

    def is_blocked(self) -> bool:
        """Tell whether somebody waits in `block`."""
        raise NotImplementedError

    def has_session(self, session_id: str) -> bool:
        """Tell whether the server still has the session."""
        raise NotImplementedError

    def kill(self, session_id: str) -> None:
        """End a session by the server's command."""
        raise NotImplementedError

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        """Have the server end the session when it has been idle for a second or two."""
        raise NotImplementedError
