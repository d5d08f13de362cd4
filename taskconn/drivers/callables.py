"""Any other client: opened, checked and closed by callables among the options. Its sockets are found."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlencode

from .. import _process
from .._descriptors import Finder, TimeLimit, peer_of, present, process_sockets, shut
from .._interrupts import is_interrupt
from .._process import Socket
from ..driver import Driver, Peek, Session, Target, peek
from ..errors import InvalidSettingsError

__all__ = ["Callables", "Client", "ClientError"]


class ClientError(Exception):
    """A client without a driver could not do what was asked of it; its own exception is the cause."""


class Client:
    """
    Keep what a callable opened, and what is known of it.

    Attributes:
        opened: The client itself: what a task gets.
        facts: What a lease has to know.
        check, close: The options' callables.
    """

    __slots__ = ("_earlier", "_peers", "_sockets", "check", "close", "facts", "is_closed", "is_shut", "opened")

    def __init__(self, target: Target, opened: Any) -> None:
        self.opened = opened
        self.facts = Session(target.alias, _process.getpid())
        self.check = _function(target, "check", target.options.check)
        self.close = _function(target, "close", target.options.close)
        self.is_closed = self.is_shut = False
        self._earlier: frozenset[Socket] = frozenset()
        self._sockets: list[Socket] = []
        self._peers: set[object] = set()

    def __repr__(self) -> str:
        return f"<Client {self.facts.alias!r} of process {self.facts.owner_pid}: {type(self.opened).__name__}>"

    def learn(self, finder: Finder) -> None:
        """Take the sockets that were found for this client's, and their peers for its servers."""
        self._earlier = finder.earlier
        self._sockets = finder.found
        self._peers = {peer_of(entry.fd) for entry in finder.found}

    def look_again(self) -> list[int]:
        """List its sockets: those connected to the same servers as its first ones, and not older than it is."""
        if self.is_closed:
            return []
        if self._peers:
            newer = [entry for entry in process_sockets() if entry not in self._earlier]
            self._sockets = [entry for entry in newer if peer_of(entry.fd) in self._peers]
        return self.known()

    def known(self) -> list[int]:
        """List its sockets as they were seen last, without those that it has closed since."""
        return [] if self.is_closed else present(self._sockets)

    def can(self, *verbs: str) -> bool:
        """Tell whether the client has all of these methods."""
        return all(callable(getattr(self.opened, verb, None)) for verb in verbs)


class Callables(Driver[Client]):
    """
    Open a client by a callable. It commits and rolls back if the client has methods of these names.

    An exception of its own says nothing of whether it is in step, so that an interrupt that leaves a task, wherever it
    struck, costs the client.
    """

    package = "taskconn"
    transactional = False
    counts_statements = False
    notices_interrupts = False
    has_savepoints = False  # `commit` and `rollback` don't tell that it speaks SQL

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """One that stands for whatever the client raises."""
        return (ClientError,)

    def validate(self, target: Target) -> None:
        """Import what is named, and refuse an URL without the callable."""
        self._connect(target)
        _function(target, "check", target.options.check)
        _function(target, "close", target.options.close)

    def open(self, target: Target, timeout_s: float) -> Client:
        """
        Call `connect` with the URL, if there is one, and `connect_args`; then `check`, so that a lazy client connects.

        The time is the callable's to keep.
        """
        connect = self._connect(target)
        place = () if target.scheme in {"", "connect"} else (_url(target),)
        with Finder(timeout_s) as finder:
            try:
                client = Client(target, _call(connect, *place, **target.connect_args))
            except ClientError as error:
                words = target.without_secrets(str(error))
                if words == str(error):
                    raise
                raise ClientError(words) from None  # it has repeated the URL, and a traceback would, too
            if client.check is not None and _call(client.check, client.opened) is False:
                self._finish(client, timeout_s)
                raise ClientError("the option `check` said False of a client that was just opened")
        client.learn(finder)
        self.transactional = client.can("commit", "rollback")
        return client

    def session(self, connection: Client) -> Session:
        """Give what is known of the client."""
        return connection.facts

    def sockets(self, connection: Client) -> Iterable[int]:
        """List its sockets, those included that it opened since."""
        return connection.look_again()

    def is_open(self, connection: Client) -> bool:
        """Tell whether taskconn has not closed it, nor shut its sockets; its own idea has no common name."""
        return not connection.is_closed and not connection.is_shut

    def peek(self, connection: Client) -> Peek:
        """
        Look at its sockets: dead if all of them are.

        A client that keeps several mends itself, and threads of its own may be about to read. One with transactions and
        a single socket is a connection: unread bytes are a stale reply.
        """
        known = connection.known()
        seen = [peek([fd]) for fd in known]
        if seen and all(one is Peek.DEAD for one in seen):
            return Peek.DEAD
        is_connection = len(known) == 1 and connection.can("commit", "rollback")
        return Peek.READABLE if is_connection and seen == [Peek.READABLE] else Peek.QUIET

    def is_alive(self, connection: Client, timeout_s: float) -> bool:
        """Ask `check`: dead if it raises or says False. Without it, what the sockets show."""
        if connection.check is None:
            return self.peek(connection) is not Peek.DEAD
        with TimeLimit(timeout_s, connection.look_again()) as limit:
            try:
                is_alive = _call(connection.check, connection.opened) is not False
            except ClientError:
                return False
        return is_alive and not limit.has_passed

    def expose(self, connection: Client) -> Any:
        """Give the client itself."""
        return connection.opened

    def commit(self, connection: Client, timeout_s: float) -> None:
        """Commit. What it raises goes through, unless the server has gone: then nobody knows."""
        self._settle(connection, "commit", timeout_s)

    def rollback(self, connection: Client, timeout_s: float) -> None:
        """Roll back."""
        self._settle(connection, "rollback", timeout_s)

    def reset(self, connection: Client, timeout_s: float) -> None:
        """Close: only a new client is clean for certain."""
        self.close(connection, timeout_s)

    def close(self, connection: Client, timeout_s: float) -> None:
        """Call `close`, else the client's own method of that name."""
        if not connection.is_closed:
            self._finish(connection, timeout_s)

    def invalidate(self, connection: Client) -> None:
        """Shut its sockets, then close, which frees what it holds."""
        if not connection.is_closed:
            shut(connection.look_again())
            self._finish(connection, 0)

    def discard(self, connection: Client) -> None:
        """Keep the object for ever: nobody knows what it does when it is collected."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def _settle(self, client: Client, verb: str, timeout_s: float) -> None:
        try:
            with TimeLimit(timeout_s, client.known()) as limit:
                getattr(client.opened, verb)()
            client.is_shut |= limit.has_passed
        except BaseException as error:
            if is_interrupt(error):
                client.facts.interrupt = type(error).__name__
                raise
            client.facts.pending = self.peek(client) is Peek.DEAD
            if verb == "commit" and not client.facts.pending:
                raise
            raise _failure(error) from error

    def _finish(self, client: Client, timeout_s: float) -> None:
        """Close within the time; a client that threads or a pool live in may not be left open."""
        with TimeLimit(timeout_s, client.look_again()), contextlib.suppress(ClientError):
            client.is_closed = True
            if client.close is not None:
                _call(client.close, client.opened)
            elif client.can("close"):
                _call(client.opened.close)

    def _connect(self, target: Target) -> Callable[..., Any]:
        connect = _function(target, "connect", target.options.connect)
        if connect is None:
            problem = f"{target.scheme}:// URLs name no client"
            raise InvalidSettingsError(
                target.alias, problem, "Write {'connect': function} or its name 'module:attribute'."
            )
        return connect


def _function(target: Target, option: str, named: Callable[..., Any] | str | None) -> Callable[..., Any] | None:
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


def _call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call what belongs to the client; its exceptions become causes, interrupts go through."""
    try:
        return function(*arguments, **named)
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise _failure(error) from error


def _failure(error: BaseException) -> ClientError:
    return ClientError(f"{type(error).__name__}: {error}")


def _url(target: Target) -> str:
    """Write the URL anew, with the password that was asked for."""
    user = quote(target.user or "", safe="")
    login = f"{user}:{quote(target.password, safe='')}@" if target.password else f"{user}@" if user else ""
    host = f"[{target.host}]" if target.host and ":" in target.host else target.host or ""
    port = f":{target.port}" if target.port else ""
    query = f"?{urlencode(target.query)}" if target.query else ""
    return f"{target.scheme}://{login}{host}{port}/{quote(target.database or '')}{query}"
