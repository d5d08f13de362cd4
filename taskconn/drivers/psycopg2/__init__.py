"""psycopg2: PostgreSQL, as it was written for longest. Its connection class stands in `_connection.py`."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from _queue import Empty, SimpleQueue
from collections.abc import Callable, Iterable
from typing import Any

import psycopg2
import psycopg2.extras
from psycopg2 import extensions as ext

from ... import _process
from ..._arguments import Reader, boolean, refuse_autocommit
from ..._guarded_driver import GuardedDriver
from ..._libpq import NAMES, read_arguments
from ..._watchdog import system_thread
from ...driver import Session, Target
from ._connection import Connection

__all__ = ["Connection", "Psycopg2"]

#: libpq takes no less, in whole seconds.
_LEAST_TIMEOUT_S = 2


def _cursor_class(name: str) -> Any:
    found = getattr(psycopg2.extras, name.rpartition(".")[2], None)
    if not (inspect.isclass(found) and issubclass(found, ext.cursor)):
        raise ValueError("a cursor class of psycopg2.extras was expected")
    return found


#: What `psycopg2.connect` takes besides libpq's arguments, and what is switched on right after it.
_OWN: dict[str, Reader | None] = {"autocommit": boolean, "cursor_factory": _cursor_class}


class Psycopg2(GuardedDriver[Connection]):
    """
    Connect to PostgreSQL with psycopg2. It waits in C: what has to be bounded is bounded by a thread, see `Deadline`.
    """

    package = "psycopg2"
    dialect = "postgresql"
    connection_type = Connection

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """psycopg2's errors, and the operating system's."""
        return (psycopg2.Error, OSError)

    def validate(self, target: Target) -> None:
        """Refuse connect arguments that neither libpq nor psycopg2 has."""
        self._arguments(target)

    def open(self, target: Target, timeout_s: float) -> Connection:
        """Connect and log in, in a thread that is left behind if it takes too long; libpq then gives up by itself."""
        arguments, own = self._arguments(target)
        arguments["connect_timeout"] = max(_LEAST_TIMEOUT_S, math.ceil(timeout_s))
        dsn = ext.make_dsn(**arguments)
        make = functools.partial(Connection, dsn, Session(target.alias, _process.getpid()), own)
        if ext.get_wait_callback() is not None:  # cooperative: another thread would have another loop
            return make()
        return _call_within(make, timeout_s)

    def sockets(self, connection: Connection) -> Iterable[int]:
        """List its one socket."""
        return () if connection.closed else (connection.fileno(),)

    def identity(self, connection: Connection) -> str | None:
        """Give the id of the server's process, as told at login."""
        return str(connection.get_backend_pid())

    def is_open(self, connection: Connection) -> bool:
        """Tell what psycopg2 knows."""
        return not connection.closed

    def is_settled(self, connection: Connection) -> bool:
        """Tell whether no transaction is open: exact, for each reply says it."""
        return connection.is_at_rest()

    def has_pending_reply(self, connection: Connection) -> bool:
        """Tell whether a reply was cut off, or a COPY was left half done."""
        return connection.session.pending or (not connection.closed and connection.is_busy())

    def _arguments(self, target: Target) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sort out what libpq gets, and what psycopg2 gets."""
        arguments = read_arguments(target, _known_names(), _OWN)
        own = {name: arguments.pop(name) for name in _OWN if name in arguments}
        if own.get("autocommit", False) is not False:
            refuse_autocommit(target, "autocommit")
        return arguments, own


@functools.cache
def _known_names() -> list[str]:
    """List the arguments that the installed libpq takes."""
    return [name for name in NAMES if _is_known(name)]


def _is_known(name: str) -> bool:
    try:
        ext.parse_dsn(f"{name}=x")
    except psycopg2.ProgrammingError:
        return False
    return True


def _call_within(make: Callable[[], Connection], timeout_s: float) -> Connection:
    """
    Connect in another thread, for libpq's own limit is two seconds or more, for each address.

    Raises:
        psycopg2.OperationalError: It took too long. What comes of it later is closed by the other thread.
    """
    answers: SimpleQueue[Connection | BaseException] = SimpleQueue()
    is_given_up: list[bool] = []

    def connect() -> None:
        try:
            answers.put(make())
        except BaseException as error:  # noqa: BLE001 -- raised where it was asked for
            answers.put(error.with_traceback(None))  # whose frames would keep what has failed
        if is_given_up:
            with contextlib.suppress(Empty):  # it was taken at the last moment
                late = answers.get_nowait()
                if isinstance(late, Connection):
                    late.quit(_LEAST_TIMEOUT_S)

    system_thread()(connect, ())
    try:
        answer = answers.get(timeout=timeout_s)
    except Empty:
        is_given_up.append(True)
        try:
            answer = answers.get_nowait()  # it came between the two lines
        except Empty:
            words = f"connection timeout expired: no login within {timeout_s:g} s"
            raise psycopg2.OperationalError(words) from None
    except BaseException:
        is_given_up.append(True)
        raise
    if isinstance(answer, BaseException):
        raise answer
    return answer
