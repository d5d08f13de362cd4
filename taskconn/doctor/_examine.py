"""Has an application looked at in a process of its own, and waits for it, but not for ever."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict

from ..config import redact
from ..errors import CommandTargetError
from ._application import Request
from ._findings import RULES, Finding

__all__ = ["examine"]

_REMEDY = "Run it from the folder that a worker is started in, and see that the worker itself starts."


def examine(request: Request, timeout_s: float) -> tuple[list[Finding], list[str]]:
    """
    Have *request* looked at, within *timeout_s*; what was started for it is killed then.

    Returns:
        What was found, and what else is to be told.

    Raises:
        CommandTargetError: The application can't be imported.
    """
    if not hasattr(os, "fork"):
        raise CommandTargetError(
            request.system, "processes do not fork on this system", "Use `taskconn lint` and `check`."
        )
    name = request.name or ", ".join(request.modules) or request.worker or request.system
    with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+", errors="replace") as output:
        command = [sys.executable, "-m", "taskconn.doctor._child", json.dumps(asdict(request)), str(answer.fileno())]
        process = subprocess.Popen(  # noqa: S603 -- this interpreter, with the user's own words
            command,
            pass_fds=[answer.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            problem = f"its import, or the look at it, did not end within {timeout_s:g} s"
            raise CommandTargetError(name, problem, "Raise --timeout, or see what its import waits for.") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        answer.seek(0)
        text = answer.read()
        output.seek(0)
        last_words = output.read().strip().splitlines()[-1:]
    if not text:
        words = f": {redact(last_words[0])}" if last_words else ""
        raise CommandTargetError(name, f"its import ended the process with exit code {code}{words}", _REMEDY)
    told = json.loads(text)
    if "problem" in told:
        raise CommandTargetError(name, f"it can't be imported ({told['problem']})", _REMEDY)
    findings = [Finding(RULES[code], *rest) for code, *rest in told["findings"]]
    return findings, told["facts"]
