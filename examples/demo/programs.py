"""A worker program of the demo, in a session of its own: Ctrl-C reaches the demo alone, which ends all in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from examples.servers import die_with_parent

#: Longest wait for a program to end after it was asked to, in seconds.
_STOP_TIMEOUT_S = 30.0


class Program:
    """
    Run one program, with its output in a file.

    Args:
        system: Task system that it is, for messages.
        command: Program and arguments.
        environ: Variables that are set in addition to this process's own.
        folder: Folder for its output.

    Attributes:
        pid: Id of its head process.
    """

    def __init__(self, system: str, command: list[str], environ: Mapping[str, str], folder: Path) -> None:
        self.system = system
        log_number, log_name = tempfile.mkstemp(".log", f"{system}-", folder)
        self._log_path = Path(log_name)
        with os.fdopen(log_number, "wb") as log:
            self._process = subprocess.Popen(
                die_with_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environ},
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self, *, signal_number: int | None = signal.SIGTERM) -> int:
        """Ask it to end (None: it ends by itself), wait for that, and return its exit code; kill it if it does not."""
        if signal_number is not None and self.returncode is None:
            self._process.send_signal(signal_number)
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """Kill it and its descendants; one that has ended is fine."""
        if self.returncode is not None:
            return
        head = psutil.Process(self.pid)
        head.suspend()  # starts no new ones
        for process in [head, *head.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def log(self) -> str:
        """Return the end of what it printed."""
        return self._log_path.read_text(errors="replace")[-4000:]
