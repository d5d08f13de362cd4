"""
The doctor's own process, in which an application is imported and forks once; `_examine` starts it, and waits.

What the application prints, exits with or hangs in stays here. No task is run, and nothing is written to a server.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from .. import _guard
from .._guard._modes import the_guard
from ..config import redact
from ._application import Application, Request, load

__all__ = ["main"]


def main(request_text: str, channel: int) -> None:
    """Look at what *request_text* names, write what was found to the descriptor *channel*, and end."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    request = Request(**json.loads(request_text))
    the_guard.set("warn")
    _guard.trace()
    try:
        answer = _look(load(request), request)
    except BaseException as error:  # noqa: BLE001 -- whatever the user's modules raise, SystemExit too
        answer = {"problem": redact(" ".join(f"{type(error).__name__}: {error}".split()))}
    with os.fdopen(channel, "w") as file:
        json.dump(answer, file)
    sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of the application must not keep it


def _look(application: Application, request: Request) -> dict[str, Any]:
    from . import _at_fork, _fleet, _sources, _tasks  # noqa: PLC0415 -- after the trace has begun

    findings, facts = _at_fork.look(application)
    more, others = _fleet.look(application, request)
    findings += [*more, *_tasks.look(application), *_sources.look()]
    rows = [
        (finding.rule.code, redact(finding.message), finding.path, finding.line, finding.column)
        for finding in _sources.without_silenced(findings)
    ]
    return {"findings": rows, "facts": [redact(fact) for fact in [*facts, *others]]}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
