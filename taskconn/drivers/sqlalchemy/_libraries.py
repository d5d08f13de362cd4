"""What SQLAlchemy does not tell of the DBAPI libraries: names of arguments, the socket, how a call is bounded. Data."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..._libpq import NAMES as LIBPQ_NAMES

__all__ = ["SQLITE_ARGUMENTS", "Library", "library_of"]

#: States of a PostgreSQL connection (libpq's PQTRANS_ACTIVE, PQTRANS_INERROR): a reply has not been read whole; a
#: statement has failed.
_PG_ACTIVE = 1
_PG_INERROR = 3


def _nothing(raw: Any) -> Any:  # noqa: ARG001 -- as the others
    return None


def _signature(library: Any) -> Collection[str] | None:
    """List the connect arguments of a library by its signature; None where it has none, or takes anything."""
    try:
        parameters = inspect.signature(library.connect).parameters
    except (TypeError, ValueError):
        return None
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return None if takes_any else list(parameters)


#: Of MySQL's client libraries: CR_MIN_ERROR to CR_MAX_ERROR.
_CR_ERRORS = range(2000, 3000)


@dataclass(frozen=True)
class Library:
    """
    Say how one DBAPI library is asked for what PEP 249 leaves out. The default knows nothing and presumes nothing.

    Attributes:
        parameters: Lists the connect arguments of the library, which it gets as a module; None: nobody knows.
        timeout: Connect argument that bounds connecting, in seconds; "" if there is none.
        least_timeout_s: The shortest that it takes; whole seconds where it is a whole number.
        label: Connect argument that names the client at the server.
        fileno: Gives the socket's descriptor.
        identity: Gives the server's id of the session.
        unread: Tells whether a reply is half read.
        failed: Tells whether a statement has failed, so that the server would answer COMMIT by ROLLBACK, and no error.
        in_transaction: Tells whether a transaction is open, exactly; None: it does not.
        abandon: Has the library forget a half-read reply, which it would read on when the cursor is collected.
        cursor_asks: Making a cursor is a round trip.
        lost: What an error says of a lost connection that SQLAlchemy does not take for one; "" if it takes them all.
        own_errors: Numbers of the errors that the library makes itself, for want of an answer: SQLAlchemy knows a few.
        reads_within: Context manager that bounds reads and writes; None: the sockets are shut by a thread.
        hurries: Connect arguments that bound reads and writes, and the attributes of *raw* where they are kept: for a
            library whose `timeout` ends before the login does.
        defaults: Connect arguments that are set unless they are given.
    """

    parameters: Callable[[Any], Collection[str] | None] = _signature
    timeout: str = ""
    least_timeout_s: float = 0
    label: str = ""
    fileno: Callable[[Any], int | None] = _nothing
    identity: Callable[[Any], object] = _nothing
    unread: Callable[[Any], bool | None] = _nothing
    failed: Callable[[Any], bool | None] = _nothing
    in_transaction: Callable[[Any], bool | None] = _nothing
    abandon: Callable[[Any], object] = _nothing
    cursor_asks: bool = False
    lost: str = ""
    own_errors: Collection[int] = ()
    reads_within: Callable[[Any, float], AbstractContextManager[None]] | None = None
    hurries: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()

    def timeout_arguments(self, timeout_s: float) -> dict[str, Any]:
        """Bound connecting by the library's own argument."""
        whole = isinstance(self.least_timeout_s, int)
        return (
            {self.timeout: max(self.least_timeout_s, math.ceil(timeout_s) if whole else timeout_s)}
            if self.timeout
            else {}
        )

    def hurry(self, arguments: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Bound the login too, where `timeout` ends with TCP: a frozen server would be waited for."""
        return {**{name: timeout_s for name, _ in self.hurries}, **arguments}

    def unhurry(self, raw: Any, arguments: dict[str, Any]) -> None:
        """Bound reads and writes from now on as the user's *arguments* say."""
        for name, attribute in self.hurries:
            setattr(raw, attribute, arguments.get(name))

    @property
    def tells_socket(self) -> bool:
        """Does the library tell its socket? If not, it has to be found."""
        return self.fileno is not _nothing

    def is_loss(self, error: BaseException) -> bool:
        """Tell whether *error* is one of no answer, though SQLAlchemy may not know: a failure of TLS, a timeout."""
        number = getattr(error, "errno", None) or next(iter(error.args), None)
        is_own = isinstance(number, int) and number in self.own_errors
        return is_own or isinstance(error.__cause__, OSError) or (self.lost != "" and self.lost in str(error))

    def descriptor(self, raw: Any) -> int | None:
        """Give the socket of *raw*; None if the library does not tell."""
        return self.fileno(raw)

    def has_unread(self, raw: Any) -> bool:
        """Tell whether *raw* has rows to be read, as far as the library says."""
        return bool(self.unread(raw))

    def is_open(self, raw: Any) -> bool:
        """Tell whether the library has not closed *raw* by itself."""
        return bool(getattr(raw, "open", True)) and not getattr(raw, "closed", False)

    def within(self, raw: Any, timeout_s: float) -> AbstractContextManager[None] | None:
        """Bound reads and writes, if the library can."""
        return None if self.reads_within is None else self.reads_within(raw, timeout_s)


def _pymysql_fileno(raw: Any) -> int | None:
    sock = raw._sock  # noqa: SLF001 -- PyMySQL has no name for it
    return None if sock is None else int(sock.fileno())


def _pymysql_unread(raw: Any) -> bool:
    result = raw._result  # noqa: SLF001 -- as above
    return result is not None and bool(result.unbuffered_active or result.has_next)


def _pymysql_abandon(raw: Any) -> None:
    result = raw._result  # noqa: SLF001 -- as above
    if result is not None:
        result.unbuffered_active = False


@contextlib.contextmanager
def _pymysql_within(raw: Any, timeout_s: float) -> Iterator[None]:
    before = raw._read_timeout, raw._write_timeout  # noqa: SLF001 -- as above
    raw._read_timeout = raw._write_timeout = max(timeout_s, 0.001)  # noqa: SLF001 -- as above
    try:
        yield
    finally:
        raw._read_timeout, raw._write_timeout = before  # noqa: SLF001 -- as above


def _no_socket(raw: Any) -> None:
    """Tell that there is none, and none need be looked for."""


@contextlib.contextmanager
def _unbounded(raw: Any, timeout_s: float) -> Iterator[None]:  # noqa: ARG001 -- as the others
    yield


#: Those of `MySQLdb.connections.Connection`, and of its part in C, which takes a few more: no signature tells them.
_MYSQLCLIENT_ARGUMENTS = (  # noqa: SIM905 -- thirty lines of a list say no more
    "auth_plugin autocommit binary_prefix charset client_flag collation compress connect_timeout conv cursorclass "
    "database db host init_command local_infile local_infile_dir multi_statements named_pipe passwd password port "
    "read_default_file read_default_group read_timeout server_public_key_path sql_mode ssl ssl_mode unix_socket "
    "use_unicode user write_timeout"
).split()
#: Those of `sqlite3.connect`, which has no signature that Python could read.
SQLITE_ARGUMENTS = (
    "autocommit",
    "cached_statements",
    "check_same_thread",
    "detect_types",
    "factory",
    "isolation_level",
    "timeout",
    "uri",
)


def _of_mysql_connector(library: Any) -> Collection[str]:
    """List what its own check of the arguments compares with."""
    constants = library.constants
    others = ("failover", "option_files", "option_groups", "username")
    return {*constants.DEFAULT_CONFIGURATION, *constants.CNX_POOL_ARGS, *others}


def _of_libpq(library: Any) -> Collection[str]:
    """List libpq's, and those that the client names itself."""
    connect = library.Connection.connect if hasattr(library, "Connection") else library.connect
    return {"connect_timeout", *LIBPQ_NAMES, *inspect.signature(connect).parameters} - {"kwargs"}


_PYMYSQL = Library(
    timeout="connect_timeout",
    least_timeout_s=0.001,
    label="program_name",
    fileno=_pymysql_fileno,
    identity=lambda raw: raw.thread_id(),
    unread=_pymysql_unread,
    abandon=_pymysql_abandon,
    reads_within=_pymysql_within,
    hurries=(("read_timeout", "_read_timeout"), ("write_timeout", "_write_timeout")),
    own_errors=_CR_ERRORS,
)
_MYSQLCLIENT = Library(
    parameters=lambda _: _MYSQLCLIENT_ARGUMENTS,
    timeout="connect_timeout",
    least_timeout_s=1,
    fileno=lambda raw: int(raw.fileno()),
    identity=lambda raw: raw.thread_id(),
    own_errors=_CR_ERRORS,
)
_MYSQL_CONNECTOR = Library(
    parameters=_of_mysql_connector,
    timeout="connection_timeout",
    least_timeout_s=1,
    identity=lambda raw: raw.connection_id,
    unread=lambda raw: bool(getattr(raw, "unread_result", False)),
    cursor_asks=True,
    lost="Connection not available",
    own_errors=_CR_ERRORS,
)
_PSYCOPG = Library(
    parameters=_of_libpq,
    timeout="connect_timeout",
    least_timeout_s=2,
    label="application_name",
    fileno=lambda raw: int(raw.fileno()),
    identity=lambda raw: raw.info.backend_pid,
    unread=lambda raw: bool(raw.info.transaction_status == _PG_ACTIVE),
    failed=lambda raw: bool(raw.info.transaction_status == _PG_INERROR),
)
#: A connection may end in another thread than the one that opened it: never in two at a time.
_SQLITE = Library(
    parameters=lambda _: SQLITE_ARGUMENTS,
    fileno=_no_socket,
    defaults=(("check_same_thread", False),),
    reads_within=_unbounded,
    in_transaction=lambda raw: bool(raw.in_transaction),
)

#: SQLAlchemy's name of a driver to what is known of its library.
_LIBRARIES = {
    "mysqlconnector": _MYSQL_CONNECTOR,
    "mysqldb": _MYSQLCLIENT,
    "psycopg": _PSYCOPG,
    "psycopg2": _PSYCOPG,
    "pymysql": _PYMYSQL,
    "pysqlite": _SQLITE,
}
_UNKNOWN = Library()


def library_of(driver: str) -> Library:
    """Tell what is known of the DBAPI library that SQLAlchemy calls *driver*."""
    return _LIBRARIES.get(driver, _UNKNOWN)
