"""How a connection speaks: in two steps, send and read, with a wait in between that signals get through."""

from __future__ import annotations

import _socket
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import MySQLdb._exceptions as errors
import MySQLdb.connections
from MySQLdb import _mysql
from MySQLdb.constants import CR

from ..._interruptible import Interruptible
from ..._process import Socket, disarm, me, unforked
from ..._sockets import Lookout, borrow
from ..._watchdog import Deadline
from ...driver import Session

__all__ = ["TELLS_MORE", "WireConnection", "errors"]

#: Length of a packet's head: that of the rest, in three bytes, and its number.
_HEAD = 4
#: Most of a reply that is looked at: the usual answer of a COMMIT is shorter.
_LOOK = 512

#: Look, and don't wait.
_PEEK = _socket.MSG_PEEK | getattr(_socket, "MSG_DONTWAIT", 0)

T = TypeVar("T")
_monotonic = time.monotonic

#: Tells without asking whether further result sets wait; since 2.3.
_more_results: Callable[[Any], int] | None = getattr(_mysql.connection, "more_results", None)
TELLS_MORE = _more_results is not None


class WireConnection(Interruptible, MySQLdb.connections.Connection):  # type: ignore[misc]  # no types
    """
    A connection of one process. Python waits for its replies, not C: a signal is heard at once, other greenlets run.

    Attributes:
        unread: Result set of an unbuffered cursor, with rows that were not read. Nobody may collect it before that:
            the library would read the rest, in a child too.
        is_guarded: A cursor asks and fetches as one exchange.
        lookout: Waits for the socket, and looks at it.
    """

    library_errors: ClassVar[tuple[type[BaseException], ...]] = (errors.MySQLError,)
    busy_error: ClassVar[type[Exception]] = errors.ProgrammingError
    #: The class in C. Its methods wait without hearing signals.
    stock: ClassVar[Any] = _mysql.connection

    cursorclass: Any

    def __init__(self, session: Session, timeout_s: float, arguments: dict[str, Any]) -> None:
        self.session = session
        self.unread: Any = None
        self.is_guarded = False
        self._socket: Socket | None = None
        self._is_shut = False
        self.lookout = Lookout()
        self._deadline: float | None = _monotonic() + timeout_s
        self._read_timeout: float | None = arguments.get("read_timeout")
        try:
            super().__init__(**arguments, connect_timeout=max(1, math.ceil(timeout_s)))
        finally:
            self._deadline = None
        session.sent = 0
        session.pending = False

    def __repr__(self) -> str:
        state = "open" if self.is_open() else "closed"
        return f"<Connection {self.session.alias!r} of process {self.session.owner_pid}, {state}>"

    def __del__(self) -> None:
        # C says goodbye next, on the parent's session if nobody has put a dead socket there.
        with contextlib.suppress(AttributeError, TypeError):  # the constructor failed early, or the interpreter ends
            if self.is_inherited():
                self.disarm()

    # -- what is known without speaking ------------------------------------------------------------------

    def is_inherited(self) -> bool:
        """Tell whether another process opened this connection."""
        return self.session.owner_pid != me.pid or not unforked[0]

    def is_open(self) -> bool:
        """Tell whether its socket is there: after an error the library may have closed it, and keeps the number."""
        if self._is_shut or not self.open:
            return False
        if self.is_doubtful and Socket.of(self.descriptor()) == self._socket:
            self.is_doubtful = False
        return not self.is_doubtful

    def descriptors(self) -> tuple[int, ...]:
        """List its one socket, unless that number is another's by now."""
        known = self._socket
        return (known.fd,) if known is not None and self.is_open() and Socket.of(known.fd) == known else ()

    def has_unread(self) -> bool:
        """Tell whether rows of an unbuffered cursor, or further result sets, wait to be read."""
        if self.unread is not None or _more_results is None:
            return self.unread is not None
        return not self._is_shut and self.open and bool(_more_results(self))

    def is_at_rest(self) -> bool:
        """Tell in one quick look that it is this process's, open, and has nothing unread; False: not known."""
        session = self.session
        return (
            not session.pending
            and not session.interrupt
            and session.owner_pid == me.pid
            and bool(unforked[0])
            and not self._is_shut
            and not self.is_doubtful
            and self.unread is None
            and _more_results is not None
            and bool(self.open)
            and not _more_results(self)
        )

    def is_in_step(self, error: BaseException) -> bool:
        """Tell whether *error* is the server's, or was made before anything was sent."""
        code = error.args[0] if error.args else None
        return not isinstance(code, int) or not (code == 0 or CR.MIN_ERROR <= code <= CR.MAX_ERROR)

    # -- speaking ----------------------------------------------------------------------------------------

    def ask(self, query: str | bytes | bytearray, timeout_s: float | None = None) -> None:
        """Send *query* and read the head of its reply, within *timeout_s* if it is given."""
        if isinstance(query, str):
            query = query.encode(self.encoding)
        descriptor = self.descriptor() if self._socket is None else self._socket.fd
        if timeout_s is None and self._deadline is not None:
            timeout_s = self._deadline - _monotonic()
        until = None if timeout_s is None else _monotonic() + timeout_s
        self.touches += 1
        self.send_query(bytes(query))
        if not self.lookout.wait(descriptor, self._read_timeout if timeout_s is None else timeout_s):
            self.shut()
            raise errors.OperationalError(CR.SERVER_LOST, f"no answer within {timeout_s or self._read_timeout:.1f} s")
        if until is None or _is_whole(descriptor):
            self.read_query_result()
        else:  # C would wait for the rest of it, for ever
            with self.bounded(until - _monotonic()):
                self.read_query_result()

    def touching(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call what speaks by itself, in C."""
        self.touches += 1
        return call(*arguments, **named)

    def read_unread(self) -> None:
        """Read rows and result sets that nobody wants any more."""
        unread, self.unread = self.unread, None
        while unread is not None and self.touching(unread.fetch_row, 1000):
            pass
        while self.touching(self.stock.next_result, self) == 0:
            self.touching(self.stock.store_result, self)

    def store_result(self) -> Any:
        """Fetch the whole result set of the last query."""
        if self.is_guarded:
            return super().store_result()
        result = self.exchange(self.touching, super().store_result)
        self.session.pending = False
        return result

    def use_result(self) -> Any:
        """Begin to read the result set of the last query row by row."""
        result = self.exchange(self.touching, super().use_result)
        self.unread = result
        self.session.pending = False
        return result

    def next_result(self) -> int:
        """Go on to the next result set; -1 if there is none."""
        is_idle = (
            self.unread is None and not self.session.pending
        )  # else the library's lock may be held, for ever in a child
        if is_idle and _more_results is not None and not _more_results(self):
            return -1
        self.unread = None
        returned: int = self.exchange(self.touching, super().next_result)
        return returned

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Change the connection's character set."""
        with contextlib.nullcontext() if self._deadline is None else self.bounded(self._deadline - _monotonic()):
            self.statement(self.touching, super().set_character_set, charset, collation)

    def ping(self, *_: object) -> None:
        """Ask for a sign of life; it never reconnects, for that would lose the transaction."""
        self.exchange(self.ask, b"DO 0")

    def select_db(self, database: str) -> None:
        """Change the database."""
        self.statement(self.touching, super().select_db, database)

    def change_user(self, *arguments: Any, **named: Any) -> None:
        """Log in as somebody else."""
        self.statement(self.touching, super().change_user, *arguments, **named)

    def show_warnings(self) -> Any:
        """Ask for the last statement's warnings."""
        return self.exchange(super().show_warnings)

    def set_server_option(self, option: int) -> Any:
        """Switch multi-statements on or off."""
        return self.statement(self.touching, super().set_server_option, option)

    def kill(self, session_id: int) -> Any:
        """End another session."""
        return self.statement(self.touching, super().kill, session_id)

    def stat(self) -> Any:
        """Ask the server how it is."""
        return self.exchange(self.touching, super().stat)

    @contextlib.contextmanager
    def bounded(self, timeout_s: float) -> Iterator[None]:
        """Shut the socket if the block, which waits in C, takes longer than *timeout_s*."""
        deadline = Deadline(self.descriptor(), max(0.001, timeout_s))
        try:
            with deadline:
                yield
        finally:
            self._is_shut = self._is_shut or deadline.has_passed

    # -- ending ------------------------------------------------------------------------------------------

    def shut(self) -> None:
        """Shut the socket, also while another thread waits for it in C: it wakes up."""
        if self._socket is None or self._is_shut or self.is_inherited():
            return
        self._is_shut = True
        if Socket.of(self._socket.fd) == self._socket:
            with contextlib.suppress(OSError), contextlib.closing(borrow(self._socket.fd, _socket.AF_UNIX)) as end:
                end.shutdown(_socket.SHUT_RDWR)

    def drop(self) -> None:
        """Shut the socket; the descriptor is closed when nobody holds the connection any more, for it may be in use."""
        self.unread = None
        self.shut()

    def disarm(self) -> None:
        """Put a dead socket where the parent's is, in a child."""
        if self._socket is not None:
            disarm([self._socket])

    # -- private -----------------------------------------------------------------------------------------

    def descriptor(self) -> int:
        """Give the number of its socket; -1 if there is none."""
        if self._socket is None:
            self._socket = Socket.of(self.stock.fileno(self))
        return -1 if self._socket is None else self._socket.fd

    def _is_unfetched(self) -> bool:
        return bool(self.field_count())


def _is_whole(descriptor: int) -> bool:
    """Tell whether the head of a reply has come whole; what is encrypted never looks so."""
    try:
        end = borrow(descriptor, _socket.AF_UNIX)
    except OSError:
        return False
    try:
        seen = end.recv(_LOOK, _PEEK)
    except OSError:
        return False
    finally:
        end.close()
    return len(seen) >= _HEAD and len(seen) >= _HEAD + int.from_bytes(seen[:3], "little")
