"""Programs of a test, each a process group of its own whose output can be waited for; nothing of it is left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from examples.servers import die_with_parent

#: The tree that is tested: programs run here, so that `examples` and `tests` can be imported.
ROOT = Path(__file__).resolve().parents[2]

#: Longest wait for a program to end after it was told to, in seconds.
_STOP_TIMEOUT_S = 15.0
#: Longest wait for the rest of its output when it was killed, in seconds.
_LAST_WORDS_S = 5.0


class Script:
    """
    Run a program in a process group of its own, and read what it prints as it comes.

    Use it in a ``with`` statement, or get one from the fixture `script`. At its end its descendants are killed, and
    all of its group and session.

    Output is unbuffered: `print` is seen at once, but its parts mix with those of other processes of the same program.
    Where several print at a time, each writes a whole line at once, with ``os.write``.

    Args:
        command: Program and arguments.
        environ: Variables that are set in addition to this process's own.
        cwd: Folder in which it runs.
        log_path: File that gets its output too, for a look after a failure.

    Attributes:
        pid: Id of its head process, of its group and of its session.
        output: What it printed so far, standard output and standard error as one.
        log_path: File that has it too.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        log_path: Path | None = None,
    ) -> None:
        self.command = list(command)
        self.log_path = log_path
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._has_ended = False
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            die_with_parent(self.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **(environ or {})},
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self.pid = self._process.pid
        self._created = psutil.Process(self.pid).create_time()
        self._reader = threading.Thread(target=self._read, args=(log_path,), name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @classmethod
    def python(cls, source: str, *arguments: str, **options: Any) -> Script:
        """Run Python *source* in a fresh interpreter; *options* as those of the class."""
        return cls([sys.executable, "-c", source, *arguments], **options)

    @classmethod
    def module(cls, name: str, *arguments: str, **options: Any) -> Script:
        """Run the module *name*, as ``python -m`` does; *options* as those of the class."""
        return cls([sys.executable, "-m", name, *arguments], **options)

    def __enter__(self) -> Script:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def __repr__(self) -> str:
        state = "runs" if self.returncode is None else f"ended with {self.returncode}"
        return f"<Script {self.pid} {state}: {' '.join(self.command)[:60]!r}>"

    @property
    def output(self) -> str:
        """What it printed so far."""
        with self._news:
            return "".join(self._lines)

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal, None while it runs."""
        return self._process.poll()

    def wait_for(self, pattern: str, timeout: float = 30.0, *, count: int = 1) -> re.Match[str]:
        """
        Wait until its output has *pattern* (a regular expression, over lines) for the *count*-th time.

        Returns:
            That match, over the whole output.

        Raises:
            AssertionError: It did not print that within *timeout* seconds, or ended first; the message has its output.
        """
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                text = "".join(self._lines)
                found = list(expression.finditer(text))
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if self._has_ended or left <= 0:
                    why = "its output ended" if self._has_ended else f"{timeout} s passed"
                    raise AssertionError(f"{self!r}: no {pattern!r} ({len(found)} of {count}) when {why}:\n{text}")
                self._news.wait(left)

    def wait(self, timeout: float = 30.0) -> int:
        """
        Wait for its end and return its exit code.

        Raises:
            AssertionError: It did not end within *timeout* seconds; the message has its output.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self!r} did not end within {timeout} s:\n{self.output}") from None
        self._reader.join(1)  # a child that outlives it may keep the pipe open
        return code

    def succeed(self, timeout: float = 30.0) -> str:
        """
        Wait for its end and return its output.

        Raises:
            AssertionError: It failed, or did not end in time; the message has its output.
        """
        code = self.wait(timeout)
        assert code == 0, f"{self!r}:\n{self.output}"
        return self.output

    def send(self, signal_number: int) -> None:
        """Send a signal to its head process; one that has ended is fine."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal_number)

    def stop(self, signal_number: int = signal.SIGTERM, timeout: float = _STOP_TIMEOUT_S) -> int:
        """Send *signal_number* to its head process, wait for its end and return its exit code."""
        self.send(signal_number)
        return self.wait(timeout)

    def children(self) -> list[int]:
        """Return the ids of its living child processes, grandchildren included."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill what is left of it: its head process, its descendants and its session."""
        left = [*self.children(), *self._session()]
        if self.returncode is None:
            left.insert(0, self.pid)  # first, so that it starts no new ones
        while left:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            left = self._session()
        self._reader.join(_LAST_WORDS_S)  # a child in a session of its own may keep the pipe open

    def _session(self) -> list[int]:
        """
        Return the living processes of its session: they are found there even when their parent has gone.

        Once all have gone, the number may be that of somebody else's, a server's perhaps, whose head is a later one.
        """
        found: list[int] = []
        with contextlib.suppress(psutil.Error):
            if psutil.Process(self.pid).create_time() != self._created:
                return found
        for process in psutil.process_iter(["status"]):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == self.pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def _read(self, log_path: Path | None) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, contextlib.ExitStack() as stack:
            log = stack.enter_context(log_path.open("a")) if log_path else None
            for line in lines:
                if log:
                    log.write(line)
                    log.flush()
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()
