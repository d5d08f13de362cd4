"""End at the server what an interrupt has cut off here: closing a socket stops no statement, and some commit alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from . import _process
from ._pooled import Pooled
from ._process import Owner, Socket
from .driver import Driver, Target
from .options import Options

__all__ = ["Canceller", "end_statement", "wait_for_cancellers"]

log = logging.getLogger("taskconn")
_monotonic = time.monotonic

#: Longest that an interrupt is held up, in seconds: a hard limit's SIGKILL follows 0.1 s after its SIGTERM. What takes
#: longer goes on in its thread.
WAIT_S = 0.1

#: Longest wait for cancellers before a fork, where what they hold may not be inherited, and at the process's end.
_END_S = 1.0

#: Is the session still there, of the same client's socket, and in a statement? Port 0 is a Unix socket's.
_MYSQL_RUNS = (
    "SELECT 1 FROM information_schema.PROCESSLIST"
    " WHERE ID = {id} AND COMMAND IN ('Query', 'Execute', 'Fetch') AND {place}"
)
#: A session that began before the interrupt, of the same client's socket: process ids are used again, ports too.
_POSTGRESQL_CANCEL = (
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
    " WHERE pid = {id} AND state = 'active' AND client_port = {port}"
    " AND backend_start < clock_timestamp() - interval '{ago_ms} milliseconds'"
)


def end_statement(pool: Any, pooled: Pooled[Any], *, wait_s: float = WAIT_S) -> None:
    """
    Have the server end what *pooled*, which was just dropped, was interrupted in. Waits for that for *wait_s* at most.

    Nothing happens where the alias says ``cancel=False``, behind a pooler (whose ids of sessions are made up), for
    another process's connection, and where the client knows no way. What goes wrong is logged.

    Raises:
        BaseException: A further interrupt, which strikes while this waits.
    """
    if pool.options.cancel and pooled.session.interrupt and pooled.owner is _process.owner():
        canceller = Canceller(pool.alias, pool.driver, pool.target, pool.options, pooled)
        if canceller.start():
            canceller.done.wait(wait_s)


class Canceller:
    """
    End one statement, in a thread of its own that nobody has to wait for.

    Attributes:
        done: Set when the thread has done what it could.
        has_ended: The server was told to end the statement.
    """

    def __init__(
        self, alias: str, driver: Driver[Any], target: Callable[[], Target], options: Options, pooled: Pooled[Any]
    ) -> None:
        self._alias = alias
        self._driver = driver
        self._target = target
        self._timeout_s = options.connect_timeout
        self._pooled = pooled
        self._dropped_at = _monotonic()
        self._known_target: Target | None = None
        self.done = threading.Event()
        self.has_ended = False

    @property
    def _is_possible(self) -> bool:
        if self._driver.dialect in _BY_SQL:
            return self._pooled.identity is not None  # else a pooler's
        return type(self._driver).cancel is not Driver.cancel

    def start(self, *, is_native: bool = False) -> bool:
        """
        Start the thread; False if there is nothing that it could do.

        Args:
            is_native: Start one of the operating system's, whatever gevent or eventlet have put in its place.
        """
        if not self._is_possible:
            return False
        _running.add(self)  # before the thread runs: a fork waits for it from here on
        try:
            if is_native:
                from ._watchdog import system_thread  # noqa: PLC0415 -- its thread is the one that asks

                system_thread()(self._run, ())
            else:
                threading.Thread(target=self._run, name=f"taskconn cancels {self._alias}", daemon=True).start()
        except RuntimeError as error:  # the interpreter ends
            _running.discard(self)
            log.debug("connection %r: a statement is left to the server: %s", self._alias, error)
            return False
        return True

    def _run(self) -> None:
        pid = _process.getpid()
        try:
            self.has_ended = self._cancel()
            words = "ended at the server" if self.has_ended else "not found at the server any more"
            log.debug("connection %r: a statement was %s, process %d", self._alias, words, pid)
        except Exception as error:  # noqa: BLE001 -- the library's, or a callable's of the user's: the interrupt is not to be masked
            log.warning(
                "connection %r: a statement could not be ended at the server, where it goes on: %s: %s, process %d",
                self._alias,
                type(error).__name__,
                error if self._known_target is None else self._known_target.without_secrets(str(error)),
                pid,
            )
        finally:
            _running.discard(self)
            self.done.set()

    def _cancel(self) -> bool:
        driver = self._driver
        told = driver.cancel(self._pooled.connection, self._timeout_s)
        by_sql = _BY_SQL.get(driver.dialect)
        if told is not None or by_sql is None or self._pooled.port is None:
            return bool(told)
        target = self._known_target = self._target()
        second = driver.open(target, self._timeout_s)
        try:
            return by_sql(self, self._ask_by(second))
        finally:
            driver.close(second, self._timeout_s)

    def _ask_by(self, second: Any) -> _Ask:
        return lambda statement: self._driver.ask(second, statement, self._timeout_s)

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """What the client raises."""
        return self._driver.errors

    @property
    def session_id(self) -> int:
        """The server's number of the session."""
        return int(self._pooled.identity or 0)

    @property
    def port(self) -> int:
        """The client's port of it; 0 for a Unix socket."""
        return self._pooled.port or 0

    @property
    def age_s(self) -> float:
        """For how long it has been there, at least."""
        return _monotonic() - self._pooled.opened_at

    @property
    def ago_s(self) -> float:
        """How long ago its connection was dropped."""
        return _monotonic() - self._dropped_at


_Ask = Callable[[str], list[tuple[Any, ...]]]


def _cancel_mysql(interrupted: Canceller, ask: _Ask) -> bool:
    """
    Kill the statement of one session, if that is certainly still the one that was dropped.

    Ids of sessions begin anew with the server. So the server must be older than the session, and know it under the
    client's own port: behind a proxy, which may lead to another server the next time, it does not. KILL QUERY takes
    the id of a session; MariaDB's KILL QUERY ID would take that of a statement.
    """
    uptime = ask("SHOW GLOBAL STATUS LIKE 'Uptime'")
    if not uptime or int(_text(uptime[0][1])) + 1 < interrupted.age_s:
        return False
    if not _runs_in_mysql(interrupted, ask):
        return False
    ask(f"KILL QUERY {interrupted.session_id}")
    return True


def _runs_in_mysql(interrupted: Canceller, ask: _Ask) -> bool:
    """Tell whether the session is there, and in a statement, also while the server's disk is full."""
    place = f"HOST LIKE '%:{interrupted.port}'" if interrupted.port else "HOST = 'localhost'"
    try:
        return bool(ask(_MYSQL_RUNS.format(id=interrupted.session_id, place=place)))
    except interrupted.errors:  # MariaDB writes that table's rows to its disk, for whose room the statement may wait
        rows = [list(map(_text, row[:5])) for row in ask("SHOW PROCESSLIST")]
    return any(
        session_id == str(interrupted.session_id)
        and (host.endswith(f":{interrupted.port}") if interrupted.port else host == "localhost")
        and command in ("Query", "Execute", "Fetch")
        for session_id, _, host, _, command in rows
    )


def _cancel_postgresql(interrupted: Canceller, ask: _Ask) -> bool:
    """Cancel what one session runs, if it is older than the interrupt and has the client's own port."""
    port, ago_ms = interrupted.port or -1, int(interrupted.ago_s * 1000)
    return bool(ask(_POSTGRESQL_CANCEL.format(id=interrupted.session_id, port=port, ago_ms=ago_ms)))


#: `Driver.dialect` -> what a second session says.
_BY_SQL = {"mysql": _cancel_mysql, "postgresql": _cancel_postgresql}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Running:
    """Know the cancellers of this process, so that no fork happens in the middle of one."""

    def __init__(self) -> None:
        self._members: set[Canceller] = set()
        _process.watch(self)

    def add(self, canceller: Canceller) -> None:
        """Add one that begins."""
        self._members.add(canceller)

    def discard(self, canceller: Canceller) -> None:
        """Forget one that has ended."""
        self._members.discard(canceller)

    def wait(self) -> None:
        """Wait for those that run, for `_END_S` in all."""
        deadline = _monotonic() + _END_S
        for canceller in list(self._members):
            canceller.done.wait(max(0.0, deadline - _monotonic()))

    def before_fork(self) -> None:
        """Wait for those that run: a child would inherit the socket of a second session, and locks of its thread."""
        self.wait()

    def sockets(self) -> list[Socket]:
        """List none: each is closed before the fork, or too slow to be known."""
        return []

    def after_fork_in_child(self, parent: Owner) -> None:
        """Begin anew: the threads are not there in a child."""
        self._members = set()


_running = _Running()

#: Wait for the cancellers that run, for a second at most: the process ends, and they with it.
wait_for_cancellers = _running.wait
_process.at_exit(wait_for_cancellers)
