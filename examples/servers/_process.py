"""One private server process: its folder, its port, its life and its end; what it speaks is said by the subclass."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from mirakuru.base import Executor, cleanup_subprocesses
from mirakuru.exceptions import ExecutorError

from ._programs import User, die_with_parent

ServerT = TypeVar("ServerT", bound="PrivateServer")

#: Longest wait for a server to answer after its start, in seconds.
_START_TIMEOUT_S = 60.0

#: How often a start is tried: the free port may be taken by somebody else before the server binds it.
_START_TRIES = 3


# As a program ends, and a forked child too, mirakuru kills the servers that it takes for the program's: those with the
# program's number anywhere in a variable of theirs, so that 348 kills a stranger's whose random id is 1b2348f0.
# Here each server has an end of its own, and the kernel's (see `PrivateServer`).
atexit.unregister(cleanup_subprocesses)


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _AnsweringExecutor(Executor):
    """Tell mirakuru that a server has started when it answers in its own protocol."""

    def __init__(self, server: PrivateServer, command: list[str], log: Any) -> None:
        super().__init__(
            die_with_parent(command, server.user_id),
            timeout=_START_TIMEOUT_S,
            sleep=0.02,
            expected_returncode=0,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self._server = server

    def pre_start_check(self) -> bool:
        return False  # the folder and the port are this server's own

    def after_start_check(self) -> bool:
        return self._server.is_answering()


class PrivateServer:
    """
    Run one server process for this process alone.

    Use it in a ``with`` statement. It is stopped at its end, at the interpreter's exit, and by the kernel when this
    process is killed. A forked child that inherits it leaves it alone.

    Attributes:
        folder: Holds its data, socket and log; removed when it is stopped.
        port: TCP port on 127.0.0.1.
        socket_path: Its Unix socket.
        log_path: What it printed.
    """

    kind = "server"
    #: Ends it politely.
    stop_signal = signal.SIGTERM
    #: What it then ends with.
    stop_code = 0
    #: Who runs it; None is the user of this process.
    user_id: User | None = None
    #: Where its folder is made; None is where temporary files are.
    place: Path | None = None

    def __init__(self) -> None:
        self.port = 0
        self.folder = Path()
        self._executor: _AnsweringExecutor | None = None
        self._owner_pid = 0

    def __enter__(self: ServerT) -> ServerT:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"pid {self.pid}, port {self.port}" if self.is_running() else "stopped"
        return f"<{type(self).__name__} {state}>"

    @property
    def socket_path(self) -> Path:
        """Path of its Unix socket."""
        return self.folder / f"{self.kind}.sock"

    @property
    def log_path(self) -> Path:
        """File with what it printed, over all its starts."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        """
        Id of its process.

        Raises:
            RuntimeError: It is not running.
        """
        if self._executor is None or self._executor.process is None:
            raise RuntimeError(f"This {type(self).__name__} is not running; start() it first.")
        return self._executor.process.pid

    def is_running(self) -> bool:
        """Tell whether its process is there; it may be paused."""
        return self._executor is not None and self._executor.running()

    def start(self) -> None:
        """
        Start it, in a new folder unless it has one, and return when it answers.

        Raises:
            ServerMissingError: Its program is not installed.
            RuntimeError: It did not answer; the message has the end of its log.
        """
        if self.is_running():
            return
        if self.folder == Path():
            self._make_folder()
        else:
            self._launch()

    def stop(self) -> None:
        """Stop it politely and remove its folder; in a process that did not start it, do nothing."""
        if self._owner_pid != os.getpid():
            return
        try:
            self._end(self.stop_signal)
        finally:
            atexit.unregister(self.stop)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder, self._owner_pid = Path(), 0

    def kill9(self) -> None:
        """Kill it as a crash would; its folder stays, `start` goes on with it."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it politely and start it again, with its data and on the same port."""
        self._end(self.stop_signal)
        self.start()

    def pause(self) -> None:
        """Make it silent but alive: the kernel still accepts connections for it (SIGSTOP). Its threads have stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def is_answering(self) -> bool:
        """Tell whether a client is served, in one try."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command line that runs it in the foreground, for the present `folder` and `port`."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Fill the new, empty `folder` with what the first start needs."""

    def log(self) -> str:
        """Return what it printed so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _make_folder(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"taskconn-{self.kind}-", dir=self.place))
        self._owner_pid = os.getpid()
        atexit.register(self.stop)
        try:
            self.port = free_port()
            self.prepare()
            self._launch_on_some_port()
        except BaseException:
            self.stop()
            raise

    def _launch_on_some_port(self) -> None:
        for tries_left in reversed(range(_START_TRIES)):
            try:
                return self._launch()
            except RuntimeError:
                if not tries_left or "in use" not in self.log():
                    raise
                self.port = free_port()
        return None

    def _launch(self) -> None:
        with self.log_path.open("ab") as log:
            self._executor = _AnsweringExecutor(self, self.command(), log)
            try:
                self._executor.start()
            except ExecutorError as error:
                raise RuntimeError(self._why_not_started()) from error

    def _why_not_started(self) -> str:
        return f"{type(self).__name__} did not start. The end of its log:\n{self.log()[-2000:]}"

    def _end(self, signal_number: int) -> None:
        executor = self._executor
        if executor is None or executor.process is None:
            return
        self.resume()  # a paused process does not hear a polite signal
        code = -signal.SIGKILL if signal_number == signal.SIGKILL else self.stop_code
        executor.stop(signal_number, expected_returncode=code)
