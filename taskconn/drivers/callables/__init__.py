"""Any other client: opened, checked and closed by callables among the options. Its sockets are found."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlencode

from ..._descriptors import Finder, TimeLimit, shut
from ..._interrupts import is_interrupt
from ..._watchdog import system_thread
from ...driver import Driver, Peek, Session, Target, peek
from ...errors import InvalidSettingsError
from ._client import Client, ClientError, call, failure, function_of

__all__ = ["Callables", "Client", "ClientError"]

#: Longest wait for a lock of the client's that a thread of its own may hold for a moment, in seconds.
_MOMENT_S = 0.1


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
        function_of(target, "check", target.options.check)
        function_of(target, "close", target.options.close)

    def open(self, target: Target, timeout_s: float) -> Client:
        """
        Call `connect` with the URL, if there is one, and `connect_args`; then `check`, so that a lazy client connects.

        The time is the callable's to keep.
        """
        connect = self._connect(target)
        place = () if target.scheme in {"", "connect"} else (_url(target),)
        with Finder(timeout_s) as finder:
            try:
                client = Client(target, call(connect, *place, **target.connect_args))
            except ClientError as error:
                words = target.without_secrets(str(error))
                if words == str(error):
                    raise
                raise ClientError(words) from None  # it has repeated the URL, and a traceback would, too
            if client.check is not None and call(client.check, client.opened) is False:
                self._finish(client, timeout_s)
                raise ClientError("the option `check` said False of a client that was just opened")
            finder.find()
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
        if not connection.locks.come_free(timeout_s):
            return False
        with TimeLimit(timeout_s, connection.look_again()) as limit:
            try:
                is_alive = call(connection.check, connection.opened) is not False
            except ClientError:
                return False
        connection.begin_anew()
        return is_alive and not limit.has_passed

    def has_pending_reply(self, connection: Client) -> bool:
        """Tell whether one of its locks is held: by rows that were not read to their end."""
        return connection.facts.pending or not connection.locks.come_free(_MOMENT_S)

    def expose(self, connection: Client) -> Any:
        """Give the client itself."""
        return connection.opened

    def commit(self, connection: Client, timeout_s: float) -> None:
        """
        Commit. What it raises goes through, unless the server has gone: then nobody knows.

        A client that is busy is not asked to: waiting for rows that the task still holds would never end.
        """
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
        connection.keep_still()

    def _settle(self, client: Client, verb: str, timeout_s: float) -> None:
        until, limit, handled = time.monotonic() + timeout_s, None, sys.exc_info()[1]
        if not client.locks.come_free(timeout_s):
            name = type(client.opened).__name__
            raise ClientError(
                f"{name} is busy: rows that were not read to their end, or another thread, hold its lock, "
                f"and {verb}() would wait for it; it was not called"
            )
        if verb == "commit" and (why := client.obstacle()):
            raise ClientError(f"{type(client.opened).__name__}: {why}; commit() was not called")
        try:
            with TimeLimit(until - time.monotonic(), client.known()) as limit:
                getattr(client.opened, verb)()
            client.is_shut |= limit.has_passed
            client.begin_anew()
        except BaseException as error:
            if is_interrupt(error):
                client.facts.interrupt = type(error).__name__
                raise
            has_passed = limit is not None and limit.has_passed
            client.facts.pending = has_passed or client.is_unanswered(error, handled) or self.peek(client) is Peek.DEAD
            if verb == "commit" and not client.facts.pending:
                raise
            raise failure(error) from error

    def _finish(self, client: Client, timeout_s: float) -> None:
        """
        Close within the time; a client that threads or a pool live in may not be left open.

        One that is busy is closed by a thread of its own, for closing may take the lock, too.
        """
        with TimeLimit(timeout_s, client.look_again()):
            client.is_closed = True
            if not client.locks.are_held():
                client.say_goodbye()
            else:
                with contextlib.suppress(RuntimeError):  # none can be started as the interpreter ends
                    system_thread()(client.say_goodbye, ())

    def _connect(self, target: Target) -> Callable[..., Any]:
        connect = function_of(target, "connect", target.options.connect)
        if connect is None:
            problem = f"{target.scheme}:// URLs name no client"
            raise InvalidSettingsError(
                target.alias, problem, "Write {'connect': function} or its name 'module:attribute'."
            )
        return connect


def _url(target: Target) -> str:
    """Write the URL anew, with the password that was asked for."""
    user = quote(target.user or "", safe="")
    login = f"{user}:{quote(target.password, safe='')}@" if target.password else f"{user}@" if user else ""
    host = f"[{target.host}]" if target.host and ":" in target.host else target.host or ""
    port = f":{target.port}" if target.port else ""
    query = f"?{urlencode(target.query)}" if target.query else ""
    return f"{target.scheme}://{login}{host}{port}/{quote(target.database or '')}{query}"
