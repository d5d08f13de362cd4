"""What a callable opened: its sockets, its locks, and how it is called."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from ... import _process
from ..._descriptors import Finder, opened_sockets, peer_of, present
from ..._interrupts import is_interrupt
from ..._locks import Locks
from ..._process import Socket, WeakMembers
from ...driver import Peek, Session, Target, peek
from ...errors import InvalidSettingsError

__all__ = ["Client", "ClientError", "call", "failure", "function_of"]


#: State of a PostgreSQL connection, as psycopg and psycopg2 tell it (libpq's PQTRANS_INERROR).
_PG_INERROR = 3
#: PEP 249's errors for what a server has refused: it has answered.
_REFUSALS = frozenset({"DataError", "IntegrityError", "NotSupportedError", "ProgrammingError"})


class ClientError(Exception):
    """A client without a driver could not do what was asked of it; its own exception is the cause."""


class Client:
    """
    Keep what a callable opened, and what is known of it.

    Attributes:
        opened: The client itself: what a task gets.
        facts: What a lease has to know.
        check, close: The options' callables.
        locks: Those of a client with transactions; others mend themselves, and threads of their own hold locks.
    """

    __slots__ = (
        "__weakref__", "_begun_on", "_earlier", "_peers", "_sockets", "check", "close", "facts", "is_closed", "is_shut",
        "locks", "opened",
    )  # fmt: skip

    def __init__(self, target: Target, opened: Any) -> None:
        self.opened = opened
        self.facts = Session(target.alias, _process.getpid())
        self.check = function_of(target, "check", target.options.check)
        self.close = function_of(target, "close", target.options.close)
        self.is_closed = self.is_shut = False
        self.locks = Locks(opened if self.can("commit", "rollback") else None)
        self._earlier: frozenset[Socket] = frozenset()
        self._sockets: list[Socket] = []
        self._begun_on: list[Socket] = []
        self._peers: set[object] = set()

    def __repr__(self) -> str:
        return f"<Client {self.facts.alias!r} of process {self.facts.owner_pid}: {type(self.opened).__name__}>"

    def learn(self, finder: Finder) -> None:
        """Take the sockets that were found, and their peers for the client's servers; in the finder's block."""
        self._earlier = finder.earlier
        self._sockets = self._begun_on = finder.found
        self._peers = {peer_of(entry.fd) for entry in finder.found}
        _clients.add(self)

    def look_again(self) -> list[int]:
        """
        List its sockets: those connected to the same servers as its first ones, and not older than it is.

        Those of taskconn's other connections are not: another thread may be at work with them.
        """
        if self.is_closed:
            return []
        if self._peers:
            newer = [entry for entry in opened_sockets() if entry not in self._earlier]
            others = self._others() if any(entry not in self._sockets for entry in newer) else frozenset()
            self._sockets = [entry for entry in newer if entry not in others and peer_of(entry.fd) in self._peers]
        return self.known()

    def _others(self) -> frozenset[Socket]:
        """List the sockets of this process's other connections, as they were known last."""
        others = [one for one in _clients.list() if one is not self and not one.is_closed]
        known = [entry for one in others for entry in one._sockets]  # noqa: SLF001 -- our own class
        return frozenset((*_process.own_sockets(), *known)).difference(self._sockets)

    def known(self) -> list[int]:
        """List its sockets as they were seen last, without those that it has closed since."""
        return [] if self.is_closed else present(self._sockets)

    def begin_anew(self) -> None:
        """Take the sockets of now for those of the next transaction: the client was opened, checked or settled."""
        if self._begun_on and not present(self._begun_on):
            self.look_again()
            self._begun_on = self._sockets

    def obstacle(self) -> str:
        """Say why a commit can't be what was asked for, as far as that is known; "" if it may."""
        left = present(self._begun_on)
        if self._begun_on and all(peek([fd]) is Peek.DEAD for fd in left):
            is_replaced = not left and self.look_again()
            if not is_replaced:
                return "its server has gone before the commit"
            if self.can("cursor"):  # a connection of PEP 249; others may change the connection between transactions
                return "it has connected anew by itself, so that what was done before is lost"
        status = getattr(getattr(self.opened, "info", None), "transaction_status", None)
        if isinstance(status, int) and status == _PG_INERROR:
            return "a statement failed and its error was swallowed, so that the server can only roll back"
        return ""

    def is_unanswered(self, error: BaseException, handled: BaseException | None) -> bool:
        """
        Tell whether *error* came of no answer.

        It made the client close all of its sockets, as many do when the server has gone; or it came of an error of
        the system's (a read that took too long), and was not *handled* before.
        """
        if any(kind.__name__ in _REFUSALS for kind in type(error).__mro__):
            return False
        seen: BaseException | None = error
        while self._peers and seen is not None and seen is not handled:
            if isinstance(seen, OSError):
                return True
            seen = seen.__cause__ or seen.__context__
        return bool(self._peers) and not self.look_again()

    def can(self, *verbs: str) -> bool:
        """Tell whether the client has all of these methods."""
        return all(callable(getattr(self.opened, verb, None)) for verb in verbs)

    def keep_still(self) -> None:
        """
        Keep psycopg, in a child, from cancelling what the parent's session runs: it does so over another connection.

        Source:
            Experiment: rows of ``Cursor.stream()`` that a child drops end the statement that its parent reads on from.
        """
        opened = self.opened
        if self.can("_try_cancel", "__enter__"):  # what is awaited is let alone
            with contextlib.suppress(AttributeError):
                opened._try_cancel = _do_nothing  # noqa: SLF001 -- nothing else of psycopg's goes around the socket

    def say_goodbye(self) -> None:
        """Call `close`, else the client's own method of that name."""
        with contextlib.suppress(ClientError):
            if self.close is not None:
                call(self.close, self.opened)
            elif self.can("close"):
                call(self.opened.close)


def _do_nothing(**_: object) -> None:
    return None


#: All that were opened, and are alive.
_clients: WeakMembers[Client] = WeakMembers()


def function_of(target: Target, option: str, named: Callable[..., Any] | str | None) -> Callable[..., Any] | None:
    """Give the callable of an option, imported if it is named."""
    if not isinstance(named, str):
        return named
    module, _, attribute = named.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for step in attribute.split("."):
            found = getattr(found, step)
    except (ImportError, AttributeError) as error:
        problem = f"{option}={named!r} can't be imported ({error})"
        remedy = "Write 'module:attribute' of a function in an importable module, and install what it needs."
        raise InvalidSettingsError(target.alias, problem, remedy) from error
    if not callable(found):
        raise InvalidSettingsError(target.alias, f"{option}={named!r} is not callable", "Name a function.")
    return found  # type: ignore[no-any-return]  # what it gives is the user's


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call what belongs to the client; its exceptions become causes, interrupts go through."""
    try:
        return function(*arguments, **named)
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise failure(error) from error


def failure(error: BaseException) -> ClientError:
    """Have the driver's error say what the client's did."""
    return ClientError(f"{type(error).__name__}: {error}")
