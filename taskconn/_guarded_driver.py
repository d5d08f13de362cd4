"""For drivers whose connections are of a class of their own, which guards what is done with them and settles itself."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from .driver import Driver, Session

__all__ = ["Guarded", "GuardedDriver"]


class Guarded(Protocol):
    """
    A connection that knows its `Session`, and does within a time what a driver has to do with it.

    Its methods raise the library's errors; beside `settle` they leave no transaction open where none was.
    """

    session: Session

    def ping_within(self, timeout_s: float, /) -> None:
        """Ask for a sign of life."""

    def ask_identity(self, timeout_s: float, /) -> str:
        """Ask the server which session this is."""

    def ask_rows(self, statement: str, timeout_s: float, /) -> list[tuple[Any, ...]]:
        """Run a statement that is none of the task's, and give its rows."""

    def settle(self, verb: str, timeout_s: float, /) -> None:
        """Send *verb*, COMMIT or ROLLBACK. `Session.pending` is True afterwards if it was sent and never answered."""

    def restore(self) -> None:
        """Put back what a task may have changed in the client."""

    def reset_within(self, timeout_s: float, /) -> None:
        """Clear the server's session, and set again what that clears but the URL asked for."""

    def quit(self, timeout_s: float, /) -> None:
        """Say goodbye and close."""

    def drop(self) -> None:
        """Shut the socket, without a word."""


G = TypeVar("G", bound=Guarded)


class GuardedDriver(Driver[G]):
    """Have connections do what they know how to; a subclass opens them, and tells what no round trip is needed for."""

    def session(self, connection: G) -> Session:
        """Give what the connection tells of itself."""
        return connection.session

    def is_alive(self, connection: G, timeout_s: float) -> bool:
        """Ask for a sign of life. No check of sync: behind a stale reply it may well come."""
        try:
            connection.ping_within(timeout_s)
        except self.errors:
            return False
        return True

    def ask_identity(self, connection: G, timeout_s: float) -> str | None:
        """Ask for the server's id of the session, outside of any transaction."""
        return connection.ask_identity(timeout_s)

    def ask(self, connection: G, statement: str, timeout_s: float) -> list[tuple[Any, ...]]:
        """Run a statement of taskconn's own."""
        return connection.ask_rows(statement, timeout_s)

    def is_settled(self, connection: G) -> bool:
        """Tell whether nothing was sent and nothing waits to be read."""
        return connection.session.sent == 0 and not self.has_pending_reply(connection)

    def commit(self, connection: G, timeout_s: float) -> None:
        """Commit; unread rows are read first. `Session.pending` is True afterwards if the answer never came."""
        connection.settle("COMMIT", timeout_s)

    def rollback(self, connection: G, timeout_s: float) -> None:
        """Roll back."""
        connection.settle("ROLLBACK", timeout_s)

    def restore(self, connection: G) -> None:
        """Put back autocommit, and whatever else the connection's class has to put back."""
        connection.restore()

    def reset(self, connection: G, timeout_s: float) -> None:
        """Clear what only the server keeps of a session: variables, temporary tables, locks, prepared statements."""
        connection.reset_within(timeout_s)

    def close(self, connection: G, timeout_s: float) -> None:
        """Say goodbye and close."""
        connection.quit(timeout_s)

    def invalidate(self, connection: G) -> None:
        """Shut the socket."""
        connection.drop()
