"""The guard of a psycopg connection: it knows its process, what is in flight, and what interrupted it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import psycopg
from psycopg import generators, pq, waiting

from ..._process import getpid, me, unforked
from ..._server_errors import hear_limit
from ..._sockets import Lookout
from ..._watchdog import shut
from ...driver import Session
from ...errors import InheritedConnectionError, TaintedConnectionError
from ._cancelling import make_canceller
from ._waiting import drive

__all__ = ["GuardedConnection"]

T = TypeVar("T")
_monotonic = time.monotonic
_ACTIVE = pq.TransactionStatus.ACTIVE
_OK = pq.ConnStatus.OK
_COMMAND_OK = pq.ExecStatus.COMMAND_OK
_NO_PIPELINE = pq.PipelineStatus.OFF
_AT_REST = (pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

#: How often psycopg's loop looks for signals, in seconds.
_INTERVAL_S = 0.1


class GuardedConnection(psycopg.Connection[Any]):
    """
    A connection of one process, dropped at once when anything but psycopg's own error strikes while a reply is due.

    All that psycopg sends and reads goes through `wait`, as steps that have not begun when it is called.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.session = Session("", getpid())
        self._deadline: float | None = None
        self._lookout = Lookout()
        #: Ends, at the server, what this connection was interrupted in; within so many seconds.
        self.canceller: Callable[[float], None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Connection {self.session.alias!r} of process {self.session.owner_pid}, {state}>"

    def __del__(self, *_: Any) -> None:
        """Say nothing: psycopg would warn of what was lost on purpose. In a child the socket is left alone."""

    # -- what psycopg calls ------------------------------------------------------------------------------

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **named: Any) -> T:
        """
        Count a statement, and make the exchange with the server that it is.

        Raises:
            InheritedConnectionError: Another process opened this connection. Nothing has been sent.
            TaintedConnectionError: An exchange was interrupted before. Nothing has been sent.
        """
        session = self.session
        if session.interrupt or session.owner_pid != me.pid or not unforked[0]:
            self.refuse_others()
        session.sent += 1
        try:
            if self._deadline is not None:
                answer: T = drive(gen, self._deadline, self.pgconn.socket, self._lookout)
                return answer
            if arguments or named:  # `notifies()`, which waits without having asked
                return super().wait(gen, *arguments, **named)
            return waiting.wait(gen, self.pgconn.socket, _INTERVAL_S)
        except psycopg.Error as error:
            if self.session.deadline is not None:
                hear_limit(self.session.deadline, error)
            raise
        except BaseException as interrupt:
            self.note(interrupt)
            raise

    def _check_connection_ok(self) -> None:
        session = self.session
        if session.interrupt or session.owner_pid != me.pid or not unforked[0]:
            self.refuse_others()  # first: an interrupted connection is closed, which would say less
        if self.pgconn.status != _OK:
            super()._check_connection_ok()

    def _try_cancel(self, **named: Any) -> None:
        # Called when half-read rows are collected. Cancelling opens a connection of its own, which no dead socket
        # stops: a child would cancel its parent's query.
        if self.session.owner_pid == getpid():
            super()._try_cancel(**named)

    # -- the guard ---------------------------------------------------------------------------------------

    def refuse_others(self) -> None:
        """Refuse a process that does not own this connection, and everybody after an interrupt."""
        session, pid = self.session, getpid()
        if session.owner_pid != pid:
            raise InheritedConnectionError(session.alias, session.owner_pid, pid)
        if session.interrupt:
            raise TaintedConnectionError(session.alias, session.interrupt)

    def is_beyond_use(self) -> bool:
        """Tell whether nothing may be sent: interrupted, or another process's."""
        return self.session.interrupt != "" or self.session.owner_pid != getpid()

    def is_busy(self) -> bool:
        """Tell, without a round trip, whether something is half done: rows, COPY, a pipeline, a transaction block."""
        pgconn = self.pgconn
        return (
            pgconn.transaction_status == _ACTIVE
            or pgconn.pipeline_status != _NO_PIPELINE
            or self.lock.locked()  # by rows, a COPY or `notifies()` that somebody still holds
            or self._num_transactions > 0
            or self._tpc is not None
        )

    def exchange_within(self, steps: Generator[Any, Any, T], deadline: float) -> T:
        """Make an exchange of taskconn's own, which is no statement; it takes no lock, for nobody else may be here."""
        try:
            answer: T = drive(steps, deadline, self.pgconn.socket, self._lookout)
        except psycopg.Error:
            raise
        except BaseException as interrupt:
            self.note(interrupt)
            raise
        return answer

    def commit_within(self, deadline: float) -> None:
        """Send COMMIT where no pipeline is open: the same as psycopg's own generators do, which take thrice as long."""
        self.pgconn.send_query(b"COMMIT")
        results = self.exchange_within(generators.execute(self.pgconn), deadline)
        if len(results) != 1 or results[0].status != _COMMAND_OK:
            raise psycopg.errors.error_from_result(results[-1], encoding=self.info.encoding)

    @contextlib.contextmanager
    def leaving(self, block: AbstractContextManager[T]) -> Iterator[T]:
        """
        Enter and leave a block of psycopg's that sends something when it is left.

        After an interrupt, and in a child, it can't: then what ends the block is not masked by the refusal.
        """
        entered = block.__enter__()
        try:
            yield entered
        except BaseException as exception:
            is_handled: bool | None = False
            try:
                is_handled = block.__exit__(type(exception), exception, exception.__traceback__)
            except (psycopg.Error, InheritedConnectionError, TaintedConnectionError):
                if not self.is_beyond_use():
                    raise
            if not is_handled:
                raise
        else:
            with contextlib.suppress(InheritedConnectionError):
                block.__exit__(None, None, None)

    def drop(self) -> None:
        """Shut the socket, so that whoever waits for it wakes up, then close without a word."""
        if self.session.owner_pid != getpid():
            return
        with contextlib.suppress(psycopg.Error):  # closed already
            shut(self.pgconn.socket)
        self._closed = True
        self.pgconn.finish()

    # -- private -----------------------------------------------------------------------------------------

    def note(self, interrupt: BaseException) -> None:
        """Note what interrupted an exchange, and drop the connection if a reply is due."""
        pgconn = self.pgconn
        if pgconn.transaction_status in _AT_REST and pgconn.pipeline_status == pq.PipelineStatus.OFF:
            return  # between two exchanges, or a value that can't be sent: libpq knows of nothing in flight
        self.session.interrupt = type(interrupt).__name__
        try:
            with contextlib.suppress(psycopg.Error):
                self.canceller = make_canceller(pgconn)  # which outlives the connection
        finally:
            self.drop()

    def ping_steps(self) -> Generator[Any, Any, None]:
        """Ask nothing, and hear that it was understood: the shortest round trip."""
        self.pgconn.send_query(b"")
        results = yield from generators.execute(self.pgconn)
        if [result.status for result in results] != [pq.ExecStatus.EMPTY_QUERY]:
            raise psycopg.OperationalError("the server's answer was a last word")

    def row_steps(self, statement: str) -> Generator[Any, Any, list[tuple[Any, ...]]]:
        """Run a statement that begins no transaction, and give its rows as text."""
        self.pgconn.send_query(statement.encode())
        results = yield from generators.execute(self.pgconn)
        for result in results:
            if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
                raise psycopg.OperationalError(result.error_message.decode(errors="replace").strip() or "a last word")
        return [
            tuple(
                None if (value := result.get_value(row, column)) is None else bytes(value).decode()
                for column in range(result.nfields)
            )
            for result in results
            for row in range(result.ntuples)
        ]

    def drain_steps(self) -> Generator[Any, Any, None]:
        """Read what the task asked for and did not read, so that the next command can be sent."""
        while self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            result = yield from generators.fetch(self.pgconn)
            if result is None:
                return
            if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                raise psycopg.OperationalError("a COPY was left open")
